"""A schedule with parameters of its own, trained with the network's."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import OfTimes, Times, real
from ddm_jax.diffusion.schedules.base import VariancePreserving
from ddm_jax.diffusion.schedules.ends import check_range, check_signal

HALVINGS = 24  # of the bracket [0, 1], down to the resolution of float32


class Weights(NamedTuple):
    """Of g: slope (), and rates, shifts and heights (units,); max_logsnr and span () of the ends.

    All but the shifts and max_logsnr act through a softplus.
    """

    max_logsnr: Array
    span: Array
    slope: Array
    rates: Array
    shifts: Array
    heights: Array


@dataclass(frozen=True)
class Monotone(VariancePreserving):
    """Variance-preserving schedule whose log-SNR is a monotone network of t.

    logsnr = max_logsnr - span h(t), h(t) = (g(t) - g(0)) / (g(1) - g(0)),
    g(t) = slope t + sum_k heights_k sigmoid(rates_k t + shifts_k), every slope, rate, height and
    the span positive. Kingma et al. 2021, arXiv:2107.00630.
    """

    @abstractmethod
    def weights(self) -> Weights:
        """The parameters."""

    def _g(self, t: Array) -> Array:
        w, plus = self.weights(), jax.nn.softplus
        units = jax.nn.sigmoid(plus(w.rates) * t[..., None] + w.shifts)
        return plus(w.slope) * t + units @ plus(w.heights)

    def logsnr(self, t: Times) -> OfTimes:
        w, t = self.weights(), real(t)
        start, end = self._g(jnp.array([0.0, 1.0]))
        return w.max_logsnr - jax.nn.softplus(w.span) * (self._g(t) - start) / (end - start)

    def time(self, logsnr: OfTimes) -> OfTimes:
        """By bisection; beyond the ends the nearest of them. It has no derivative."""
        logsnr = jax.lax.stop_gradient(real(logsnr))

        def halve(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bracket
            middle = 0.5 * (low + high)
            later = self.logsnr(middle) > logsnr
            return jnp.where(later, middle, low), jnp.where(later, high, middle)

        zero = jnp.zeros_like(logsnr)
        low, high = jax.lax.fori_loop(0, HALVINGS, halve, (zero, zero + 1))
        return 0.5 * (low + high)


@dataclass(frozen=True)
class Learned(Monotone):
    """The monotone log-SNR before training, from max_logsnr to min_logsnr and nearly linear.

    It is trained by the objective "vdm"; `with_params` gives the trained one. The defaults are the
    published ends. Kingma et al. 2021, arXiv:2107.00630.
    """

    max_logsnr: float = 13.3
    min_logsnr: float = -5.0
    units: int = 1024

    def __post_init__(self):
        super().__post_init__()
        check_range(self.min_logsnr, self.max_logsnr)
        check_signal(self.min_logsnr)
        if self.units < 1:
            raise ValueError("needs units >= 1")

    def init_params(self, key: Array) -> Weights:
        """Fresh parameters: gentle sigmoids of all places beside a slope of 1."""
        shift = jax.random.normal(key, (self.units,), jnp.float32)
        span = jnp.float32(self.max_logsnr - self.min_logsnr)
        one = jnp.ones(())
        return Weights(
            max_logsnr=jnp.float32(self.max_logsnr),
            span=_inverse_softplus(span),
            slope=_inverse_softplus(one),
            rates=jnp.full((self.units,), _inverse_softplus(one)),
            shifts=shift,
            heights=jnp.full((self.units,), _inverse_softplus(one / self.units)),
        )

    def with_params(self, params: Weights) -> "Trained":
        """The schedule with these parameters."""
        return Trained(Weights(*params), num_timesteps=self.num_timesteps)

    def weights(self) -> Weights:
        return self.init_params(jax.random.key(0))


@dataclass(frozen=True)
class Trained(Monotone):
    """The monotone log-SNR with given parameters."""

    params: Weights

    def weights(self) -> Weights:
        return self.params


def _inverse_softplus(y: Array) -> Array:
    return y + jnp.log(-jnp.expm1(-y))
