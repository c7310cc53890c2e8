"""Between the values of the data and the x of diffusion."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.data.dataset import Spec

Borrowed = Mapping[str, Any]  # weights of other runs, by the part that they play


class Codec(Protocol):
    """What all that train, sample and measure know of the data's values."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the x of one example."""
        ...

    def encode(
        self, values: Array | np.ndarray, borrowed: Borrowed, keys: Array | None = None
    ) -> Array:
        """The x (B, ...) of values as the data store them; keys (B,) where it may draw."""
        ...

    def decode(self, x: Array | np.ndarray, borrowed: Borrowed) -> Array:
        """Values in the range `Spec.shown`, nan for what is not finite, which no clipping hides."""
        ...

    def limits(self) -> tuple[Array, Array] | None:
        """The x (C,) of the lowest and of the highest values, None where x has no range."""
        ...


@dataclass(frozen=True)
class Pixels:
    """x = (v - a) / b for each channel, v the value in the range [low, high] of `Spec.shown`.

    scaling "unit": a = (low + high) / 2 and b = (high - low) / 2, so that x lies in [-1, 1];
    "fitted": a and b are the data's own mean and standard deviation.
    """

    spec: Spec
    scaling: str = "unit"

    def __post_init__(self):
        if self.scaling not in ("unit", "fitted"):
            raise ValueError(f"scaling is 'unit' or 'fitted', not {self.scaling!r}")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spec.shape

    def encode(
        self, values: Array | np.ndarray, borrowed: Borrowed, keys: Array | None = None
    ) -> Array:
        a, b = self._line()
        return (jnp.asarray(self.spec.show(values)) - a) / b

    def decode(self, x: Array | np.ndarray, borrowed: Borrowed) -> Array:
        a, b = self._line()
        values = x * b + a
        return jnp.where(jnp.isfinite(values), jnp.clip(values, *self.spec.shown), jnp.nan)

    def limits(self) -> tuple[Array, Array]:
        channels = self.spec.shape[-1:]
        ends = (np.full(channels, end) for end in (self.spec.low, self.spec.high))
        low, high = (self.encode(end, {}) for end in ends)
        return low, high

    def _line(self) -> tuple[Array, Array]:
        """a and b, (C,) each."""
        low, high = self.spec.shown
        half = (0.5,) * self.spec.shape[-1]
        fitted = self.scaling == "fitted"
        mean, std = (self.spec.mean, self.spec.std) if fitted else (half, half)
        a, b = low + (high - low) * np.array(mean), (high - low) * np.array(std)
        return jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)


CODECS = {"pixels": Pixels}
