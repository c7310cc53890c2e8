"""Averages of the weights over training, with which a run samples."""

from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


class Average(Protocol):
    """What is kept of the weights seen, as arrays of one structure, and the average in it.

    All of it is float32, whatever computes with the weights.
    """

    def init(self, params: Any) -> Any:
        """What is kept before the first update, in memory of its own."""
        ...

    def update(self, memory: Any, params: Any, step: ArrayLike) -> Any:
        """What is kept after update `step` = 1, 2, ... gave `params`."""
        ...

    def read(self, memory: Any) -> Any:
        """The averaged weights, of the structure of `params`."""
        ...


@dataclass(frozen=True)
class Ema:
    """ema <- d ema + (1 - d) params, with d = min(decay, (1 + n) / (10 + n)) after update n.

    The warm-up keeps early averages from being the initial weights; `warmup=False` is d = decay.
    """

    decay: float = 0.9999
    warmup: bool = True

    def __post_init__(self):
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay lies in [0, 1), not {self.decay}")

    def rate(self, n: ArrayLike) -> Array:
        """d after update n = 1, 2, ..."""
        n = jnp.asarray(n, jnp.float32)
        ramp = (1 + n) / (10 + n) if self.warmup else jnp.ones_like(n)
        return jnp.minimum(self.decay, ramp)

    def init(self, params: Any) -> Any:
        return jax.tree.map(jnp.copy, params)

    def update(self, memory: Any, params: Any, step: ArrayLike) -> Any:
        d = self.rate(step)
        return jax.tree.map(lambda e, p: d * e + (1 - d) * p, memory, params)

    def read(self, memory: Any) -> Any:
        return memory


AVERAGES = {"ema": Ema}
