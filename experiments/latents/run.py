"""How much faster are images drawn of latents than pixel by pixel?

    python experiments/latents/run.py runs/fashion_latent

Two programs in turns, in one process: the run's own, which samples latents and decodes them, and
one of the same data whose U-Net of the same settings works on the pixels, with attention at its
lowest size only, and fresh weights. Both have the run's sampler, grid and guidance. Prints the
shortest seconds of ROUNDS, per image, and their ratio.
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ddm_jax import verbs
from ddm_jax.answering import Parser, answered
from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config, override
from ddm_jax.errors import UserError
from ddm_jax.tasks.base import Weights
from ddm_jax.verbs.opened import Opened

BATCH, ROUNDS = 20, 5


def of_latents(run: Opened) -> Callable[[], jax.Array]:
    """The run's own program: latents, decoded."""
    return drawing(run.setup.task, run.load().weights)


def of_pixels(run: Opened, overrides: Sequence[str]) -> Callable[[], jax.Array]:
    """The same sampler on a U-Net of the same settings that sees pixels."""
    config, spec = load_config(str(run.folder / "config.json")), run.setup.spec
    lowest = min(spec.shape[:-1]) // 2 ** (len(config.model.ddpm_unet.multipliers) - 1)
    settings = ("codec.name=pixels", f"model.ddpm_unet.attention=({lowest},)")
    config = override(config, [*overrides, *(f"--config.{setting}" for setting in settings)])
    task = assemble(config, spec).task
    assert task.generator.grid_steps == run.setup.task.generator.grid_steps
    return drawing(task, Weights(task.init(jax.random.key(0)), {}))


def drawing(task: Any, weights: Weights) -> Callable[[], jax.Array]:
    program = jax.jit(task.generator.generate)
    return lambda: program(weights, np.arange(BATCH))


def seconds(call: Callable[[], jax.Array]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(call())
    return (time.perf_counter() - began) / BATCH


def main(arguments: Sequence[str]) -> None:
    parser = Parser(__doc__)
    parser.add_argument("run", help="the folder of a run on latents")
    given, overrides = parser.parse_known_args(arguments)
    run = verbs.open(given.run, overrides)
    if run.setup.spec.latents is None:
        raise UserError(f"{given.run} draws no latents; name a run of configs/fashion_latent.py")
    calls = {"pixels": of_pixels(run, overrides), "latents": of_latents(run)}
    shapes = {name: call().shape for name, call in calls.items()}
    assert shapes["pixels"] == shapes["latents"], shapes
    turns = [[seconds(call) for call in calls.values()] for _ in range(ROUNDS)]
    pixels, latents = np.array(turns).min(0)
    print(f"of pixels {1e3 * pixels:.1f} ms an image, of latents {1e3 * latents:.1f} ms")
    print(f"{pixels / latents:.1f} times as fast")


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
