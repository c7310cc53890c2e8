"""What lies between the halves of an autoencoder: the table of bottlenecks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import normal_like

SMALLEST, LARGEST = -30.0, 20.0  # log-variances, beyond which exp() is of no use in float32


class Passed(NamedTuple):
    """What the decoder is shown z (B, ...), what the loss gains (B,), and parts (B,) to log."""

    z: Array
    penalty: Array
    parts: Mapping[str, Array]


class Bottleneck(Protocol):
    """A row of BOTTLENECKS: a frozen dataclass, whose methods are pure functions of arrays."""

    factor: ClassVar[int]  # numbers that the encoder gives for each number of the latents

    def init(self, key: Array, channels: int) -> Any:
        """Fresh parameters for latents of so many channels, () for none."""
        ...

    def moments(self, h: Array) -> tuple[Array, Array]:
        """(mean, variance) of latents (B, ..., C) from what the encoder gives."""
        ...

    def through(self, params: Any, h: Array, keys: Array, size: int) -> Passed:
        """What training shows the decoder, each example drawn by its key (B,).

        size: the elements of an example, over which the loss of its reconstruction is a mean.
        """
        ...

    def settled(self, params: Any, z: Array) -> Array:
        """What the decoder is shown of latents z (B, ..., C) that come from elsewhere."""
        ...


@dataclass(frozen=True)
class KL:
    """Latents are drawn from N(m, s^2), which `weight` times KL(N(m, s^2) || N(0, 1)) holds small.

    Both are for each element of the example, so that weight = 1 is the evidence lower bound where
    the reconstruction's loss is -log p. Kingma & Welling 2013, arXiv:1312.6114; with so small a
    weight Rombach et al. 2022, arXiv:2112.10752.
    """

    weight: float = 1e-6

    factor: ClassVar[int] = 2

    def __post_init__(self):
        if self.weight < 0:
            raise ValueError("needs weight >= 0")

    def init(self, key: Array, channels: int) -> Any:
        return ()

    def moments(self, h: Array) -> tuple[Array, Array]:
        mean, log_variance = self._read(h)
        return mean, jnp.exp(log_variance)

    def through(self, params: Any, h: Array, keys: Array, size: int) -> Passed:
        mean, log_variance = self._read(h)
        z = mean + jnp.exp(0.5 * log_variance) * normal_like(keys, mean)
        kl = kl_to_normal(mean, log_variance) / size
        return Passed(z, self.weight * kl, {"kl": kl})

    def settled(self, params: Any, z: Array) -> Array:
        return z

    def _read(self, h: Array) -> tuple[Array, Array]:
        """(mean, log-variance)."""
        mean, log_variance = jnp.split(h, 2, axis=-1)
        return mean, jnp.clip(log_variance, SMALLEST, LARGEST)


@dataclass(frozen=True)
class VQ:
    """The decoder is shown the nearest of `size` vectors e that are trained, a position each.

    The loss gains |sg(z) - e|^2 + commitment |z - sg(e)|^2, means over elements, and gradients go
    straight through to z. Latents are z before that, so that decoding finds the nearest. van den
    Oord et al. 2017, arXiv:1711.00937. `codes` are how many of the vectors an example shows.
    """

    size: int = 512
    commitment: float = 0.25

    factor: ClassVar[int] = 1

    def __post_init__(self):
        if self.size < 2 or self.commitment < 0:
            raise ValueError("needs size >= 2 and commitment >= 0")

    def init(self, key: Array, channels: int) -> Any:
        """The vectors (size, channels), of latents' size at the beginning."""
        return jax.random.normal(key, (self.size, channels), jnp.float32)

    def moments(self, h: Array) -> tuple[Array, Array]:
        return h, jnp.zeros_like(h)

    def through(self, params: Any, h: Array, keys: Array, size: int) -> Passed:
        index = self.nearest(params, h)
        code, axes, stop = params[index], tuple(range(1, h.ndim)), jax.lax.stop_gradient
        moved, kept = ((stop(h) - code) ** 2).mean(axes), ((h - stop(code)) ** 2).mean(axes)
        shown = jax.nn.one_hot(index.reshape(len(h), -1), self.size).max(1).sum(1)
        z = h + stop(code - h)
        return Passed(z, moved + self.commitment * kept, {"codebook": kept, "codes": shown})

    def settled(self, params: Any, z: Array) -> Array:
        return params[self.nearest(params, z)]

    def nearest(self, params: Array, z: Array) -> Array:
        """The places (B, ...) of the vectors nearest to z (B, ..., C)."""
        away = (params**2).sum(-1) - 2 * z @ params.T  # |z|^2 is the same for all
        return away.argmin(-1)


def kl_to_normal(mean: Array, log_variance: Array) -> Array:
    """KL(N(m, s^2) || N(0, 1)) = (m^2 + s^2 - 1 - ln s^2) / 2, summed over an example: (B,), nats.

    Kingma & Welling 2013, arXiv:1312.6114, appendix B.
    """
    terms = mean**2 + jnp.expm1(log_variance) - log_variance
    return 0.5 * terms.sum(tuple(range(1, mean.ndim)))


BOTTLENECKS = {"kl": KL, "vq": VQ}
