"""Where on [0, 1]: densities of training times, and grids of sampling times."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import ndtri

from ddm_jax.diffusion.core import Schedule, fold_in
from ddm_jax.diffusion.importance import Importance

Memory = Any  # a pytree that a density carries from step to step of training


class Density(ABC):
    """A density of training times, given by its quantiles; this one learns nothing on the way."""

    @abstractmethod
    def quantile(self, schedule: Schedule, u: Array, memory: Memory) -> Array:
        """The time below which a share u of the draws falls; u (B,) in (0, 1) -> t (B,)."""

    def init(self) -> Memory:
        """What is remembered before the first step of training."""
        return ()

    def weight(self, t: Array, memory: Memory) -> Array:
        """The factor that undoes a deliberate preference for some times; t (B,) -> (B,)."""
        return jnp.ones_like(t)

    def update(self, memory: Memory, t: Array, loss: Array) -> Memory:
        """The memory after a step whose whole batch had losses (B,) at times (B,)."""
        return memory


@dataclass(frozen=True)
class Uniform(Density):
    """t ~ U(0, 1), continuous."""

    def quantile(self, schedule: Schedule, u: Array, memory: Memory) -> Array:
        return u


@dataclass(frozen=True)
class Discrete(Density):
    """t uniform on the levels i / (T - 1), i = 0 .. T - 1. Ho et al. 2020, arXiv:2006.11239."""

    steps: int = 1000

    def __post_init__(self):
        if self.steps < 2:
            raise ValueError(f"steps={self.steps}: needs at least 2")

    def quantile(self, schedule: Schedule, u: Array, memory: Memory) -> Array:
        return jnp.floor(u * self.steps) / (self.steps - 1)


@dataclass(frozen=True)
class LogNormal(Density):
    """ln(sigma / alpha) ~ N(mean, std^2), cut to the schedule's ends.

    Karras et al. 2022, arXiv:2206.00364, table 1.
    """

    mean: float = -1.2
    std: float = 1.2

    def quantile(self, schedule: Schedule, u: Array, memory: Memory) -> Array:
        return jnp.clip(schedule.time(-2 * (self.mean + self.std * ndtri(u))), 0.0, 1.0)


@dataclass(frozen=True)
class LogitNormal(Density):
    """t = sigmoid(mean + std z), z ~ N(0, 1). Esser et al. 2024, arXiv:2403.03206, section 3.1."""

    mean: float = 0.0
    std: float = 1.0

    def quantile(self, schedule: Schedule, u: Array, memory: Memory) -> Array:
        return jax.nn.sigmoid(self.mean + self.std * ndtri(u))


@dataclass(frozen=True)
class LogUniform(Density):
    """Log-SNR uniform between the schedule's ends, so ln(sigma / alpha) is too."""

    def quantile(self, schedule: Schedule, u: Array, memory: Memory) -> Array:
        high, low = schedule.logsnr(jnp.array([0.0, 1.0]))
        return jnp.clip(schedule.time(high + u * (low - high)), 0.0, 1.0)


TIMES = {
    "uniform": Uniform,
    "discrete": Discrete,
    "log_normal": LogNormal,
    "logit_normal": LogitNormal,
    "log_uniform": LogUniform,
    "importance": Importance,
}


def independent(key: Array, place: Array, size: int) -> Array:
    """u_i ~ U(0, 1), each its own."""
    return jax.vmap(jax.random.uniform)(fold_in(key, place))


def antithetic(key: Array, place: Array, size: int) -> Array:
    """Pairs u, 1 - u: examples 2 i and 2 i + 1 share a draw."""
    u = independent(key, place // 2, size)
    return jnp.where(place % 2 == 0, u, 1 - u)


def stratified(key: Array, place: Array, size: int) -> Array:
    """u_i = (u + i / B) mod 1: one draw for all, so each B-th part of (0, 1) has one example.

    Kingma et al. 2021, arXiv:2107.00630.
    """
    return jnp.mod(jax.random.uniform(key) + place / size, 1.0)


UNIFORMS = {"independent": independent, "antithetic": antithetic, "stratified": stratified}


def uniforms(kind: str, key: Array, place: Array, size: int) -> Array:
    """Draws (B,) in the open interval (0, 1) for examples `place` of a whole batch of `size`."""
    u = UNIFORMS[kind](key, place, size)
    return jnp.clip(u, 2.0**-24, 1 - 2.0**-24)


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


GRIDS = {
    "uniform": UniformGrid,
    "trailing": TrailingGrid,
    "leading": LeadingGrid,
    "quadratic": QuadraticGrid,
    "logsnr": LogSNRGrid,
    "karras": KarrasGrid,
    "explicit": ExplicitGrid,
}
