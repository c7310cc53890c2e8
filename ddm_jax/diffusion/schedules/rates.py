"""Schedules given by their rates alpha(t) and sigma(t)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ddm_jax.diffusion.arrays import OfTimes, Times, real
from ddm_jax.diffusion.schedules.base import Fixed
from ddm_jax.diffusion.schedules.ends import check_noisy_end


@dataclass(frozen=True)
class OffsetCosine(Fixed):
    """alpha = cos(a), sigma = sin(a), a(t) linear from acos(max_signal) to acos(min_signal).

    The least noisy level still holds noise (sigma(0) = 0.312 by default), so a sampler must end
    with the estimate of x_0. Beres 2022, Keras example "Denoising Diffusion Implicit Models".
    """

    max_signal: float = 0.95
    min_signal: float = 0.02

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.min_signal < self.max_signal < 1:
            raise ValueError("needs 0 < min_signal < max_signal < 1")
        tangents = np.tan(np.arccos([self.min_signal, self.max_signal]))
        check_noisy_end(2.0, self._ends()[1], 2 * float(np.log(tangents[0] / tangents[1])))

    def _ends(self) -> tuple[float, float]:
        """a(0), and pi/2 - a(1), which keeps its digits where the signal is small."""
        return float(np.arccos(self.max_signal)), float(np.arcsin(self.min_signal))

    def _span(self) -> float:
        return np.pi / 2 - sum(self._ends())

    def alpha(self, t: Times) -> OfTimes:
        return jnp.sin(self._ends()[1] + (1 - real(t)) * self._span())

    def sigma(self, t: Times) -> OfTimes:
        return jnp.sin(self._ends()[0] + real(t) * self._span())

    def logsnr(self, t: Times) -> OfTimes:
        return 2 * jnp.log(self.alpha(t) / self.sigma(t))

    def time(self, logsnr: OfTimes) -> OfTimes:
        start, end = self._ends()
        angle, rest = jnp.arctan(jnp.exp(-0.5 * logsnr)), jnp.arctan(jnp.exp(0.5 * logsnr))
        span = self._span()
        return jnp.where(angle < rest, (angle - start) / span, 1 - (rest - end) / span)


@dataclass(frozen=True)
class VE(Fixed):
    """alpha = 1, sigma geometric from min_sigma to max_sigma.

    Song & Ermon 2019, arXiv:1907.05600; as an equation Song et al. 2021, arXiv:2011.13456.
    """

    min_sigma: float = 0.01
    max_sigma: float = 50.0

    def __post_init__(self):
        super().__post_init__()
        _check_sigmas(self.min_sigma, self.max_sigma)

    def alpha(self, t: Times) -> OfTimes:
        return jnp.ones_like(real(t))

    def sigma(self, t: Times) -> OfTimes:
        return jnp.exp(-0.5 * self.logsnr(t))

    def logsnr(self, t: Times) -> OfTimes:
        ratio = np.log(self.max_sigma / self.min_sigma)
        return -2 * (np.log(self.min_sigma) + real(t) * ratio)

    def time(self, logsnr: OfTimes) -> OfTimes:
        ratio = np.log(self.max_sigma / self.min_sigma)
        return (-0.5 * logsnr - np.log(self.min_sigma)) / ratio


@dataclass(frozen=True)
class EDM(Fixed):
    """alpha = 1, sigma^(1/rho) linear in t from min_sigma to max_sigma.

    sigma is EDM's own time; this t makes its sampling grid the uniform one.
    Karras et al. 2022, arXiv:2206.00364, eq. 5 and table 1.
    """

    min_sigma: float = 0.002
    max_sigma: float = 80.0
    rho: float = 7.0

    def __post_init__(self):
        super().__post_init__()
        _check_sigmas(self.min_sigma, self.max_sigma)
        if self.rho <= 0:
            raise ValueError("needs rho > 0")

    def _ends(self) -> tuple[float, float]:
        return self.min_sigma ** (1 / self.rho), self.max_sigma ** (1 / self.rho)

    def alpha(self, t: Times) -> OfTimes:
        return jnp.ones_like(real(t))

    def sigma(self, t: Times) -> OfTimes:
        start, end = self._ends()
        return (start + real(t) * (end - start)) ** self.rho

    def logsnr(self, t: Times) -> OfTimes:
        return -2 * jnp.log(self.sigma(t))

    def time(self, logsnr: OfTimes) -> OfTimes:
        start, end = self._ends()
        return (jnp.exp(-0.5 * logsnr / self.rho) - start) / (end - start)


def _check_sigmas(low: float, high: float) -> None:
    if not 1e-15 < low < high < 1e15:
        raise ValueError("needs 0 < min_sigma < max_sigma, both within 1e-15 and 1e15")


@dataclass(frozen=True)
class Flow(Fixed):
    """alpha = 1 - u, sigma = u, u from epsilon to 1 - epsilon: rectified flow.

    Liu et al. 2022, arXiv:2209.03003; Lipman et al. 2022, arXiv:2210.02747.
    """

    epsilon: float = 1e-3

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.epsilon < 0.5:
            raise ValueError("needs 0 < epsilon < 1/2")
        check_noisy_end(2.0, self.epsilon, 4 * float(np.log(1 / self.epsilon - 1)))

    def sigma(self, t: Times) -> OfTimes:
        return self.epsilon + real(t) * (1 - 2 * self.epsilon)

    def alpha(self, t: Times) -> OfTimes:
        return self.sigma(1 - real(t))

    def logsnr(self, t: Times) -> OfTimes:
        return 2 * jnp.log(self.alpha(t) / self.sigma(t))

    def time(self, logsnr: OfTimes) -> OfTimes:
        return (jax.nn.sigmoid(-0.5 * logsnr) - self.epsilon) / (1 - 2 * self.epsilon)
