"""The optimiser and its learning rate."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike
from optax.contrib import MuonDimensionNumbers

from ddm_jax.errors import unknown
from ddm_jax.models.magnitude import UNIT, unit_kernel


def muon(o: "Optim", lr: optax.Schedule) -> optax.GradientTransformation:
    """Muon for the kernels, Adam for what is no kernel.

    A kernel (..., inputs, outputs) is one matrix with a row for each weight of an output. Its
    momentum, 0.95, is brought near the nearest orthogonal matrix by five Newton-Schulz iterations
    and scaled by 0.2 sqrt(max(rows, columns)), to the mean square of Adam's updates, so that both
    take the same rate. Jordan et al. 2024 (modded-nanogpt); the scale: Liu et al. 2025,
    arXiv:2502.16982, equation 4.
    """
    return optax.contrib.muon(
        lr,
        eps=o.eps,
        weight_decay=o.weight_decay,
        adam_b1=o.b1,
        adam_b2=o.b2,
        muon_weight_dimension_numbers=kernels,
        consistent_rms=0.2,
    )


def kernels(params: Any) -> Any:
    """Of every kernel which axes are its matrix's rows and which its columns; None of the rest."""

    def axes(path: Any, leaf: Array) -> MuonDimensionNumbers | None:
        if getattr(path[-1], "key", "") not in ("kernel", UNIT):
            return None
        return MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1)

    return jax.tree.map_with_path(axes, params)


OPTIMIZERS = {
    "adam": lambda o, lr: optax.adam(lr, o.b1, o.b2, o.eps),
    "adamw": lambda o, lr: optax.adamw(lr, o.b1, o.b2, o.eps, weight_decay=o.weight_decay),
    "muon": muon,
    "sgd": lambda o, lr: optax.sgd(lr),
}
DECAYS = {
    "constant": lambda progress: jnp.ones_like(progress),
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: 0.5 * (1 + jnp.cos(jnp.pi * progress)),
}


@dataclass(frozen=True)
class Optim:
    """The `optim` section. The learning rate rises over `warmup` steps, then follows `decay` to
    the end of training; gradients are scaled to a global norm of at most `clip` (0: not at all).
    """

    name: str = "adam"
    lr: float = 2e-4
    warmup: int = 0
    decay: str = "constant"
    clip: float = 1.0
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self):
        if self.name not in OPTIMIZERS:
            raise unknown("optimizer", self.name, OPTIMIZERS)
        if self.decay not in DECAYS:
            raise unknown("learning-rate decay", self.decay, DECAYS)
        for name in ("lr", "eps"):
            if np.float32(getattr(self, name)) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be above 0 in float32")
        for name in ("warmup", "clip", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 0")
        for name in ("b1", "b2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} lies in [0, 1), not {getattr(self, name)}")

    def rate(self, n: ArrayLike, steps: int) -> Array:
        """Learning rate of update n = 0, 1, ... of `steps`."""
        n = jnp.asarray(n, jnp.float32)
        progress = jnp.clip((n - self.warmup) / max(steps - self.warmup, 1), 0.0, 1.0)
        ramp = jnp.minimum(1.0, (n + 1) / max(self.warmup, 1))
        return self.lr * ramp * DECAYS[self.decay](progress)

    def transform(self, steps: int) -> optax.GradientTransformation:
        """The optax transformation, for a run of `steps` updates."""
        clip = [optax.clip_by_global_norm(self.clip)] if self.clip else []
        tx = optax.chain(*clip, OPTIMIZERS[self.name](self, lambda n: self.rate(n, steps)))
        return with_unit_kernels(tx)


def with_unit_kernels(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """tx, and after each of its updates every kernel of the name UNIT is of unit size again.

    That is mean square 1 for each output, so that what one step changes, relative to the kernel,
    depends on the learning rate alone. Karras et al. 2023 (EDM2), arXiv:2312.02696, section 2.3.
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        updates, state = tx.update(updates, state, params)
        return jax.tree.map_with_path(kept, updates, params), state

    def kept(path: Any, change: Array, leaf: Array) -> Array:
        if getattr(path[-1], "key", "") != UNIT:
            return change
        return unit_kernel(leaf + change) - leaf

    return optax.GradientTransformation(tx.init, update)
