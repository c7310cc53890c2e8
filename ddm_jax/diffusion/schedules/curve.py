"""Schedules given by their log-SNR as a curve, with the digits of both ends."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import Times, real
from ddm_jax.diffusion.schedules.base import Fixed


@dataclass(frozen=True)
class Curve(Fixed, ABC):
    """Variance-preserving schedule given by its log-SNR as a curve over its own time u in [0, 1].

    t in [0, 1] covers linearly the part of u that `ends` names; then
    alpha = sqrt(sigmoid(logsnr)), sigma = sqrt(sigmoid(-logsnr)). Everything is told u and the
    rest 1 - u, each computed from its own end, since 1 - u has no digits left where u rounds to 1.
    """

    @abstractmethod
    def curve(self, u: Array, rest: Array) -> Array:
        """Log-SNR at u = 1 - rest, strictly decreasing in u."""

    @abstractmethod
    def inverse(self, logsnr: Array) -> tuple[Array, Array]:
        """(u, 1 - u) of a log-SNR."""

    @abstractmethod
    def ends(self) -> tuple[float, float]:
        """u at t = 0, and 1 - u at t = 1."""

    def logsnr(self, t: Times) -> Array:
        (start, end), t = self.ends(), real(t)
        span = 1 - start - end
        return self.curve(start + t * span, end + (1 - t) * span)

    def time(self, logsnr: Array) -> Array:
        start, end = self.ends()
        u, rest = self.inverse(logsnr)
        span = 1 - start - end
        return jnp.where(u < rest, (u - start) / span, 1 - (rest - end) / span)

    def alpha(self, t: Times) -> Array:
        return jnp.sqrt(jax.nn.sigmoid(self.logsnr(t)))

    def sigma(self, t: Times) -> Array:
        return jnp.sqrt(jax.nn.sigmoid(-self.logsnr(t)))
