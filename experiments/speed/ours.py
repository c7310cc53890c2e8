"""This project's side: programs of a config, compiled, on arrays that stay on the device."""

import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ddm_jax.config.assemble import assemble  # noqa: E402
from ddm_jax.config.load import load_config, override  # noqa: E402
from ddm_jax.data.dataset import Dataset, Spec  # noqa: E402
from ddm_jax.data.pipeline import feed  # noqa: E402
from ddm_jax.exchange import network, parameters  # noqa: E402
from ddm_jax.tasks.generator import Weights  # noqa: E402
from ddm_jax.training.base import Constants  # noqa: E402

SHAPE = (32, 32, 3)
SPEC = Spec("noise", SHAPE, 50_000, (), False, (0.5,) * 3, (0.25,) * 3)


class Ours:
    """The train step, the network and the sampler of a config, for examples of SHAPE."""

    def __init__(self, config: str, settings: Sequence[str], dtype: str, batch: int):
        own = (f"model.ddpm_unet.dtype={dtype}", f"train.batch={batch}", "guidance.name=none")
        given = [f"--config.{text}" for text in (*settings, *own)]
        self.batch, self.config = batch, override(load_config(config), given)
        spec = replace(SPEC, count=batch)
        self.setup = assemble(self.config, spec)
        self.state = self.setup.init_state()
        self.key = self.setup.train_key()
        x = np.random.default_rng(0).integers(0, 256, (batch, *SHAPE), np.uint8)
        data, augment = Dataset(spec, {"x": x}), self.setup.task.augment
        fed = feed(data, 0, batch, 0, augment=augment, by_index=False)
        self.feed = jax.device_put(fed)
        net = self.setup.task.model.net
        self.forward_program = jax.jit(lambda net_params, x, t: net.apply(net_params, x, t))
        self.generate = jax.jit(self.setup.task.generator.generate)

    @cached_property
    def lowered(self) -> Any:
        """The train step before it is compiled."""
        step = jax.jit(self.setup.train_step().whole(), donate_argnums=0)
        return step.lower(self.state, self.feed, Constants(None, {}), self.key)

    @cached_property
    def program(self) -> Any:
        return self.lowered.compile()

    @property
    def flops(self) -> float:
        """Of a train step, as the program asks for them."""
        return float(self.lowered.cost_analysis()["flops"])

    def step(self) -> None:
        args = self.state, self.feed, Constants(None, {}), self.key
        self.state, metrics = self.program(*args)
        jax.block_until_ready((self.state, metrics))

    def forward(self) -> None:
        x, t = jnp.zeros((self.batch, *SHAPE)), jnp.ones((self.batch,))
        jax.block_until_ready(self.forward_program({"params": self.state.params.net}, x, t))

    def sample(self) -> None:
        weights = Weights(self.state.params, {})
        jax.block_until_ready(self.generate(weights, np.arange(self.batch)))


def started(ours: Ours) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(settings of diffusers for the network, its tensors there), moved off the first weights,
    whose zeros would hide most of the gradient.
    """
    net, tree = ours.setup.task.model.net, jax.device_get(ours.state.params.net)
    rng = np.random.default_rng(1)
    tree = jax.tree.map(lambda a: a + 0.02 * rng.normal(size=a.shape).astype(a.dtype), tree)
    levels = len(net.multipliers)
    return network.write(net, SHAPE, tree), parameters.tensors(tree, levels)


def gradients(
    ours: Ours, tensors: dict[str, np.ndarray], arrays: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """Of the mean squared error of network(x, t) from noise, by their names in diffusers."""
    net, like = ours.setup.task.model.net, ours.state.params.net
    params = parameters.taken(tensors, like, len(net.multipliers))
    x, t, noise = (jnp.asarray(a) for a in arrays)

    def loss(params: Any) -> jax.Array:
        return ((net.apply({"params": params}, x, t) - noise) ** 2).mean()

    return parameters.tensors(jax.jit(jax.grad(loss))(params), len(net.multipliers))


def seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def device() -> str:
    """What the programs run on, in words."""
    if jax.default_backend() != "cpu":
        return jax.devices()[0].device_kind
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = {line.partition(": ")[2] for line in lines if line.startswith("model name")}
    return f"{os.cpu_count()} cores of {', '.join(names) or platform.processor()}"
