"""Between the values of the data and the x of diffusion."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.data.dataset import Latents, Spec
from ddm_jax.diffusion.arrays import normal_like

Borrowed = Mapping[str, Any]  # weights or tasks of other runs, by the part that they play


class Codec(Protocol):
    """What all that train, sample and measure know of the data's values."""

    asks: ClassVar[str]  # the role of the run that it needs, "" for none

    @property
    def lent(self) -> Borrowed:
        """The tasks of borrowed runs, by role."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the x of one example."""
        ...

    @property
    def latents(self) -> Latents | None:
        """What is known of the latents that it makes, None where it makes none."""
        ...

    @property
    def stored(self) -> "Codec | None":
        """The codec of moments that were encoded before, None where nothing is to be stored."""
        ...

    def encode(
        self, values: Array | np.ndarray, borrowed: Borrowed, keys: Array | None = None
    ) -> Array:
        """The x (B, ...) of values as the data store them; keys (B,) where it may draw."""
        ...

    def decode(self, x: Array | np.ndarray, borrowed: Borrowed) -> Array:
        """Values in the range `Spec.shown`, nan for what is not finite, which no clipping hides.

        x may have any number of axes before those of an example.
        """
        ...

    def limits(self) -> tuple[Array, Array] | None:
        """The x (C,) of the lowest and of the highest values, None where x has no range."""
        ...


@dataclass(frozen=True)
class Pixels:
    """x = (v - a) / b for each channel, v the value in the range [low, high] of `Spec.shown`.

    scaling "unit": a = (low + high) / 2 and b = (high - low) / 2, so that x lies in [-1, 1];
    "fitted": a and b are the data's own mean and standard deviation. lent: the tasks of borrowed
    runs, which it has no need of.
    """

    spec: Spec
    lent: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    scaling: str = "unit"

    asks: ClassVar[str] = ""
    latents: ClassVar[None] = None
    stored: ClassVar[None] = None

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


@dataclass(frozen=True)
class Latent:
    """x = (z - m) / s for each channel, z the latents that the autoencoder of another run makes.

    m and s are their mean and standard deviation over the data, as `Spec.latents` has them. z is
    drawn where keys are given, and else the mean of what would be drawn. Rombach et al. 2022,
    arXiv:2112.10752, appendix G. run: of task `autoencoder`. store: whether training encodes the
    data once, before the first step, and not each batch anew, as it must where examples are
    augmented. lent: its task, by the role.
    """

    spec: Spec
    lent: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    run: str = ""
    store: bool = True

    asks: ClassVar[str] = "autoencoder"

    def __post_init__(self):
        if not self.spec.latents:
            raise ValueError(
                "latents are made by a run of task autoencoder, and none is named; name it with "
                "--config.codec.latent.run=runs/<its name>"
            )

    @property
    def latents(self) -> Latents:
        assert self.spec.latents
        return self.spec.latents

    @property
    def shape(self) -> tuple[int, ...]:
        return self.latents.shape

    def encode(
        self, values: Array | np.ndarray, borrowed: Borrowed, keys: Array | None = None
    ) -> Array:
        z, variance = self.lent[self.asks].moments(borrowed[self.asks], values)
        return self._drawn(z, jnp.sqrt(variance), keys)

    def decode(self, x: Array | np.ndarray, borrowed: Borrowed) -> Array:
        mean, std = self._line()
        z = jnp.asarray(x).reshape(-1, *self.shape) * std + mean
        values = self.lent[self.asks].decoded(borrowed[self.asks], z)
        return values.reshape(*x.shape[: x.ndim - len(self.shape)], *values.shape[1:])

    def limits(self) -> None:
        return None

    @property
    def stored(self) -> "StoredLatent | None":
        return StoredLatent(self.spec, self.run, lent=self.lent) if self.store else None

    def _drawn(self, z: Array, deviation: Array, keys: Array | None) -> Array:
        """The x of latents of this mean and deviation (B, ...), drawn where there are keys (B,)."""
        if keys is not None:
            z = z + deviation * normal_like(keys, z)
        mean, std = self._line()
        return (z - mean) / std

    def _line(self) -> tuple[Array, Array]:
        """m and s, (C,) each."""
        found = self.latents
        return jnp.asarray(found.mean, jnp.float32), jnp.asarray(found.std, jnp.float32)


@dataclass(frozen=True)
class StoredLatent(Latent):
    """Latent, of values (B, ..., 2 C) that are the means and deviations of z themselves."""

    def encode(
        self, values: Array | np.ndarray, borrowed: Borrowed, keys: Array | None = None
    ) -> Array:
        z, deviation = jnp.split(jnp.asarray(values), 2, -1)
        return self._drawn(z, deviation, keys)


CODECS = {"pixels": Pixels, "latent": Latent}
