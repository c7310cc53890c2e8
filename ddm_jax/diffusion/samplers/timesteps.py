"""Grids of sampling times on [0, 1]."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.diffusion.schedules.base import Schedule


def _at_least_one(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"{steps} sampling steps; at least 1 is needed")


@dataclass(frozen=True)
class UniformGrid:
    """t_k = 1 - k / (n - 1): both ends, evenly spaced."""

    def times(self, schedule: Schedule, steps: int) -> np.ndarray:
        """`steps` strictly decreasing times from 1, float32 (steps,)."""
        _at_least_one(steps)
        return np.linspace(1.0, 0.0, steps, dtype=np.float32)


@dataclass(frozen=True)
class TrailingGrid:
    """t_k = 1 - k / n: from the noisiest level in even strides, the last one stride above 0.

    Lin et al. 2023, arXiv:2305.08891, table 2.
    """

    def times(self, schedule: Schedule, steps: int) -> np.ndarray:
        """`steps` strictly decreasing times from 1, float32 (steps,)."""
        _at_least_one(steps)
        return (1 - np.arange(steps) / steps).astype(np.float32)


@dataclass(frozen=True)
class QuadraticGrid:
    """t_k = (1 - k / (n - 1))^2: denser where there is little noise.

    Song et al. 2020, arXiv:2010.02502, appendix D.2 (there it starts at t = 0.8; here at 1,
    where x_t is noise).
    """

    def times(self, schedule: Schedule, steps: int) -> np.ndarray:
        """`steps` strictly decreasing times from 1, float32 (steps,)."""
        _at_least_one(steps)
        return (np.linspace(1.0, 0.0, steps) ** 2).astype(np.float32)


@dataclass(frozen=True)
class LeadingGrid:
    """t_k = 1 - (k + 1) / n: even strides that end at the least noisy level.

    It starts one stride below the noisiest level although sampling starts from noise, a mismatch
    that grows as n falls; n = 1 denoises at t = 0. Here to reproduce work that used it.
    Lin et al. 2023, arXiv:2305.08891, table 2.
    """

    def times(self, schedule: Schedule, steps: int) -> np.ndarray:
        """`steps` strictly decreasing times to 0, float32 (steps,)."""
        _at_least_one(steps)
        return (1 - (np.arange(steps) + 1) / steps).astype(np.float32)


@dataclass(frozen=True)
class LogSNRGrid:
    """Evenly spaced in log-SNR, both ends. Lu et al. 2022, arXiv:2206.00927, section 4.1."""

    def times(self, schedule: Schedule, steps: int) -> Array:
        """`steps` strictly decreasing times from 1, float32 (steps,)."""
        high, low = _ends(schedule)
        return _at_logsnr(schedule, low + _even(steps) * (high - low))


@dataclass(frozen=True)
class KarrasGrid:
    """(sigma / alpha)^(1/rho) evenly spaced. Karras et al. 2022, arXiv:2206.00364, eq. 5."""

    rho: float = 7.0

    def __post_init__(self):
        if self.rho <= 0:
            raise ValueError("needs rho > 0")

    def times(self, schedule: Schedule, steps: int) -> Array:
        """`steps` strictly decreasing times from 1, float32 (steps,)."""
        high, low = jnp.exp(-0.5 * _ends(schedule) / self.rho)
        root = low + _even(steps) * (high - low)
        return _at_logsnr(schedule, -2 * self.rho * jnp.log(root))


@dataclass(frozen=True)
class ExplicitGrid:
    """The listed times, strictly decreasing in [0, 1]; their number must be that of the steps."""

    listed: tuple[float, ...] = (1.0, 0.75, 0.5, 0.25)

    def __post_init__(self):
        if any(not 0 <= t <= 1 for t in self.listed) or any(np.diff(self.listed) >= 0):
            raise ValueError(f"times {self.listed} must decrease strictly within [0, 1]")

    def times(self, schedule: Schedule, steps: int) -> np.ndarray:
        """The list, float32 (steps,)."""
        if len(self.listed) != steps:
            raise ValueError(f"{len(self.listed)} times are listed for {steps} sampling steps")
        return np.array(self.listed, np.float32)


def _ends(schedule: Schedule) -> Array:
    return schedule.logsnr(jnp.array([0.0, 1.0]))


def _even(steps: int) -> np.ndarray:
    """`steps` even values from 0 to 1."""
    _at_least_one(steps)
    return np.linspace(0.0, 1.0, steps, dtype=np.float32)


def _at_logsnr(schedule: Schedule, logsnr: Array) -> Array:
    """Times of increasing log-SNRs, with the ends exactly 1 and, for more than one, 0."""
    return schedule.time(logsnr).at[-1].set(0.0).at[0].set(1.0)


TIMESTEPS = {
    "uniform": UniformGrid,
    "trailing": TrailingGrid,
    "leading": LeadingGrid,
    "quadratic": QuadraticGrid,
    "logsnr": LogSNRGrid,
    "karras": KarrasGrid,
    "explicit": ExplicitGrid,
}
