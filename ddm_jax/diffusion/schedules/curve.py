"""Schedules given by their log-SNR as a curve, with the digits of both ends."""

from abc import abstractmethod
from dataclasses import dataclass

import jax.numpy as jnp

from ddm_jax.diffusion.arrays import OfTimes, Times, real
from ddm_jax.diffusion.schedules.base import VariancePreserving


@dataclass(frozen=True)
class Curve(VariancePreserving):
    """Variance-preserving schedule given by its log-SNR as a curve over its own time u in [0, 1].

    t in [0, 1] covers linearly the part of u that `ends` names. Everything is told u and the rest
    1 - u, each computed from its own end, since 1 - u has no digits left where u rounds to 1.
    """

    @abstractmethod
    def curve(self, u: OfTimes, rest: OfTimes) -> OfTimes:
        """Log-SNR at u = 1 - rest, strictly decreasing in u."""

    @abstractmethod
    def inverse(self, logsnr: OfTimes) -> tuple[OfTimes, OfTimes]:
        """(u, 1 - u) of a log-SNR."""

    @abstractmethod
    def ends(self) -> tuple[float, float]:
        """u at t = 0, and 1 - u at t = 1."""

    def logsnr(self, t: Times) -> OfTimes:
        (start, end), t = self.ends(), real(t)
        span = 1 - start - end
        return self.curve(start + t * span, end + (1 - t) * span)

    def time(self, logsnr: OfTimes) -> OfTimes:
        start, end = self.ends()
        u, rest = self.inverse(logsnr)
        span = 1 - start - end
        return jnp.where(u < rest, (u - start) / span, 1 - (rest - end) / span)
