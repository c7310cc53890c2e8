"""Where on [0, 1]: densities of training times, and grids of sampling times."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.diffusion.core import Schedule


@dataclass(frozen=True)
class Uniform:
    """t ~ U(0, 1), continuous."""

    def draw(self, schedule: Schedule, keys: Array) -> Array:
        """One time for each key (B,) -> (B,)."""
        return jax.vmap(jax.random.uniform)(keys)


@dataclass(frozen=True)
class Discrete:
    """t uniform on the levels i / (T - 1), i = 0 .. T - 1. Ho et al. 2020, arXiv:2006.11239."""

    steps: int = 1000

    def __post_init__(self):
        if self.steps < 2:
            raise ValueError(f"steps={self.steps}: needs at least 2")

    def draw(self, schedule: Schedule, keys: Array) -> Array:
        """One time for each key (B,) -> (B,)."""
        level = jax.vmap(lambda key: jax.random.randint(key, (), 0, self.steps))(keys)
        return level / (self.steps - 1)


@dataclass(frozen=True)
class LogNormal:
    """ln(sigma / alpha) ~ N(mean, std^2), cut to the schedule's ends.

    Karras et al. 2022, arXiv:2206.00364, table 1.
    """

    mean: float = -1.2
    std: float = 1.2

    def draw(self, schedule: Schedule, keys: Array) -> Array:
        """One time for each key (B,) -> (B,)."""
        z = jax.vmap(jax.random.normal)(keys)
        return jnp.clip(schedule.time(-2 * (self.mean + self.std * z)), 0.0, 1.0)


@dataclass(frozen=True)
class LogitNormal:
    """t = sigmoid(mean + std z), z ~ N(0, 1). Esser et al. 2024, arXiv:2403.03206, section 3.1."""

    mean: float = 0.0
    std: float = 1.0

    def draw(self, schedule: Schedule, keys: Array) -> Array:
        """One time for each key (B,) -> (B,)."""
        return jax.nn.sigmoid(self.mean + self.std * jax.vmap(jax.random.normal)(keys))


@dataclass(frozen=True)
class LogUniform:
    """Log-SNR uniform between the schedule's ends, so ln(sigma / alpha) is too."""

    def draw(self, schedule: Schedule, keys: Array) -> Array:
        """One time for each key (B,) -> (B,)."""
        high, low = schedule.logsnr(jnp.array([0.0, 1.0]))
        u = jax.vmap(jax.random.uniform)(keys)
        return jnp.clip(schedule.time(low + u * (high - low)), 0.0, 1.0)


TIMES = {
    "uniform": Uniform,
    "discrete": Discrete,
    "log_normal": LogNormal,
    "logit_normal": LogitNormal,
    "log_uniform": LogUniform,
}


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

    def times(self, schedule: Schedule, steps: int) -> np.ndarray:
        """`steps` strictly decreasing times from 1, float32 (steps,)."""
        high, low = _ends(schedule)
        return _at_logsnr(schedule, np.linspace(low, high, steps), steps)


@dataclass(frozen=True)
class KarrasGrid:
    """(sigma / alpha)^(1/rho) evenly spaced. Karras et al. 2022, arXiv:2206.00364, eq. 5."""

    rho: float = 7.0

    def __post_init__(self):
        if self.rho <= 0:
            raise ValueError("needs rho > 0")

    def times(self, schedule: Schedule, steps: int) -> np.ndarray:
        """`steps` strictly decreasing times from 1, float32 (steps,)."""
        high, low = (np.exp(-0.5 * logsnr / self.rho) for logsnr in _ends(schedule))
        root = np.linspace(low, high, max(steps, 1))
        return _at_logsnr(schedule, -2 * self.rho * np.log(root), steps)


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


def _ends(schedule: Schedule) -> tuple[float, float]:
    return tuple(float(logsnr) for logsnr in schedule.logsnr(np.array([0.0, 1.0], np.float32)))


def _at_logsnr(schedule: Schedule, logsnr: np.ndarray, steps: int) -> np.ndarray:
    """Times of increasing log-SNRs, with the ends exactly 1 and, for more than one, 0."""
    _at_least_one(steps)
    times = np.array(schedule.time(logsnr.astype(np.float32)))
    times[-1] = 0.0
    times[0] = 1.0
    return times


GRIDS = {
    "uniform": UniformGrid,
    "trailing": TrailingGrid,
    "leading": LeadingGrid,
    "quadratic": QuadraticGrid,
    "logsnr": LogSNRGrid,
    "karras": KarrasGrid,
    "explicit": ExplicitGrid,
}
