"""Noise schedules: frozen dataclasses with alpha(t), sigma(t), logsnr(t) and its inverse time().

t in [0, 1] runs from the least noisy level to the noisiest. A schedule published as T betas has
its level i (0-based) at t = i / (T - 1) and interpolates log-SNR linearly between levels, so it
too is a function of t alone, finite at both ends.
"""

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


class Schedule(Protocol):
    """What the rest of the code asks of a schedule; all methods are elementwise and jittable."""

    def alpha(self, t: Array) -> Array:
        """Signal rate."""

    def sigma(self, t: Array) -> Array:
        """Noise rate."""

    def logsnr(self, t: Array) -> Array:
        """2 log(alpha / sigma), strictly decreasing in t."""

    def time(self, logsnr: Array) -> Array:
        """The inverse of logsnr(t)."""


class DiscreteSchedule(ABC):
    """Variance-preserving schedule given by T betas; abar = cumprod(1 - beta), alpha^2 = abar.

    logsnr_i = log(abar_i / (1 - abar_i)), alpha = sqrt(sigmoid(logsnr)),
    sigma = sqrt(sigmoid(-logsnr)). Ho et al. 2020, arXiv:2006.11239.
    """

    steps: int

    @abstractmethod
    def betas(self) -> np.ndarray:
        """beta_1 .. beta_T, float64 (T,), each in (0, 1)."""

    @functools.lru_cache(maxsize=64)  # noqa: B019 - frozen, a handful exist
    def levels(self) -> np.ndarray:
        """Log-SNR of the T levels, float64 (T,), strictly decreasing."""
        log_abar = np.cumsum(np.log1p(-self.betas()))
        return log_abar - np.log(-np.expm1(log_abar))

    def logsnr(self, t: Array) -> Array:
        table = jnp.asarray(self.levels(), jnp.float32)
        u = jnp.clip(jnp.asarray(t, jnp.float32), 0.0, 1.0) * (self.steps - 1)
        below = jnp.minimum(jnp.floor(u).astype(jnp.int32), self.steps - 2)
        return table[below] + (u - below) * (table[below + 1] - table[below])

    def time(self, logsnr: Array) -> Array:
        rising = jnp.asarray(-self.levels(), jnp.float32)
        return jnp.interp(-logsnr, rising, jnp.linspace(0.0, 1.0, self.steps))

    def alpha(self, t: Array) -> Array:
        return jnp.sqrt(jax.nn.sigmoid(self.logsnr(t)))

    def sigma(self, t: Array) -> Array:
        return jnp.sqrt(jax.nn.sigmoid(-self.logsnr(t)))


def _at_least_two(steps: int) -> None:
    if steps < 2:
        raise ValueError(f"steps={steps}: a discrete schedule needs at least 2")


@dataclass(frozen=True)
class Linear(DiscreteSchedule):
    """beta_i = beta_start + i/(T-1) (beta_end - beta_start), i = 0 .. T-1.

    The published betas are for T = 1000. With another T, `scaled` multiplies them by 1000 / T,
    which keeps the amount of noise at the end; unscaled, a short chain ends with signal left
    (T = 200: 13 % of the variance), so sampling must not start from pure noise.
    Ho et al. 2020, arXiv:2006.11239, section 4.
    """

    steps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02
    scaled: bool = False

    def __post_init__(self):
        _at_least_two(self.steps)
        betas = self.betas()
        if betas.min() <= 0 or betas.max() >= 1:
            raise ValueError(
                f"betas run from {betas.min():.3g} to {betas.max():.3g} and must lie in (0, 1); "
                "take more steps, a smaller beta_end, or scaled=False"
            )

    def betas(self) -> np.ndarray:
        scale = 1000 / self.steps if self.scaled else 1.0
        return scale * np.linspace(self.beta_start, self.beta_end, self.steps)


@dataclass(frozen=True)
class Cosine(DiscreteSchedule):
    """beta_i = min(1 - f(i+1)/f(i), max_beta), f(i) = cos^2(pi/2 (i/T + s) / (1 + s)).

    Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17.
    """

    steps: int = 1000
    s: float = 0.008
    max_beta: float = 0.999

    def __post_init__(self):
        _at_least_two(self.steps)
        if not (self.s >= 0 and 0 < self.max_beta < 1):
            raise ValueError("needs s >= 0 and 0 < max_beta < 1")

    def betas(self) -> np.ndarray:
        i = np.arange(self.steps + 1) / self.steps
        f = np.cos(np.pi / 2 * (i + self.s) / (1 + self.s)) ** 2
        return np.minimum(1 - f[1:] / f[:-1], self.max_beta)


@dataclass(frozen=True)
class OffsetCosine:
    """alpha = cos(a), sigma = sin(a), a(t) linear from acos(max_signal) to acos(min_signal).

    The least noisy level still holds noise (sigma(0) = 0.312 by default), so a sampler must end
    with the estimate of x_0. Beres 2022, Keras example "Denoising Diffusion Implicit Models".
    """

    max_signal: float = 0.95
    min_signal: float = 0.02

    def __post_init__(self):
        if not 0 < self.min_signal < self.max_signal < 1:
            raise ValueError("needs 0 < min_signal < max_signal < 1")

    def _ends(self) -> tuple[float, float]:
        return float(np.arccos(self.max_signal)), float(np.arccos(self.min_signal))

    def angle(self, t: Array) -> Array:
        start, end = self._ends()
        return start + jnp.asarray(t, jnp.float32) * (end - start)

    def alpha(self, t: Array) -> Array:
        return jnp.cos(self.angle(t))

    def sigma(self, t: Array) -> Array:
        return jnp.sin(self.angle(t))

    def logsnr(self, t: Array) -> Array:
        return -2 * jnp.log(jnp.tan(self.angle(t)))

    def time(self, logsnr: Array) -> Array:
        start, end = self._ends()
        return (jnp.arctan(jnp.exp(-0.5 * logsnr)) - start) / (end - start)


SCHEDULES = {"linear": Linear, "cosine": Cosine, "offset_cosine": OffsetCosine}
