"""Variance-preserving schedules that are published as T betas.

Level i (0-based) stands at t = i / (T - 1), and log-SNR is linear between levels, so a discrete
schedule too is a function of t in [0, 1] alone, finite at both ends.
"""

import functools
from abc import abstractmethod
from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np

from ddm_jax.diffusion.arrays import OfTimes, Times, real
from ddm_jax.diffusion.schedules.base import VariancePreserving
from ddm_jax.diffusion.schedules.ends import check_signal

ZERO_SIGNAL = 2.0**-12


@dataclass(frozen=True)
class DiscreteSchedule(VariancePreserving):
    """Variance-preserving schedule given by T betas; abar = cumprod(1 - beta), alpha^2 = abar.

    logsnr_i = log(abar_i / (1 - abar_i)). Ho et al. 2020, arXiv:2006.11239.
    """

    zero_terminal: bool = field(default=False, kw_only=True)

    @abstractmethod
    def betas(self) -> np.ndarray:
        """beta_1 .. beta_T, float64 (T,), each in (0, 1)."""

    @functools.lru_cache(maxsize=64)  # noqa: B019 - frozen, a handful exist
    def levels(self) -> np.ndarray:
        """Log-SNR of the T levels, float64 (T,), strictly decreasing.

        `zero_terminal` shifts and scales sqrt(abar) so that its last value is 0, here 2^-12 (or
        less where it was less), for a finite log-SNR: algorithm 1 of Lin et al. 2023,
        arXiv:2305.08891.
        """
        log_abar = np.cumsum(np.log1p(-self.betas()))
        if self.zero_terminal:
            root = np.exp(log_abar / 2)
            end = min(ZERO_SIGNAL, root[-1])
            root = end + (root - root[-1]) * (root[0] - end) / (root[0] - root[-1])
            log_abar = 2 * np.log(root)
        return log_abar - np.log(-np.expm1(log_abar))

    def logsnr(self, t: Times) -> OfTimes:
        table = real(self.levels())
        u = jnp.clip(real(t), 0.0, 1.0) * (self.num_timesteps - 1)
        below = jnp.minimum(jnp.floor(u).astype(jnp.int32), self.num_timesteps - 2)
        return table[below] + (u - below) * (table[below + 1] - table[below])

    def time(self, logsnr: OfTimes) -> OfTimes:
        return jnp.interp(-logsnr, real(-self.levels()), jnp.linspace(0.0, 1.0, self.num_timesteps))

    def __post_init__(self):
        super().__post_init__()
        betas = self.betas()
        if betas.min() <= 0 or betas.max() >= 1:
            raise ValueError(
                f"betas run from {betas.min():.3g} to {betas.max():.3g} and must lie in (0, 1); "
                "take more timesteps, a smaller beta_end, or scaled=False"
            )
        levels = self.levels()
        check_signal(levels[-1])
        if not (np.diff(levels.astype(np.float32)) < 0).all():
            raise ValueError("neighbouring levels are the same in float32; take fewer timesteps")


@dataclass(frozen=True)
class Linear(DiscreteSchedule):
    """beta_i = beta_start + i/(T-1) (beta_end - beta_start), i = 0 .. T-1.

    The published betas are for T = 1000. With another T, `scaled` multiplies them by 1000 / T,
    which keeps the amount of noise at the end; unscaled, a short chain ends with signal left
    (T = 200: 13 % of the variance), so sampling must not start from pure noise.
    Ho et al. 2020, arXiv:2006.11239, section 4.
    """

    beta_start: float = 1e-4
    beta_end: float = 0.02
    scaled: bool = False

    def betas(self) -> np.ndarray:
        scale = 1000 / self.num_timesteps if self.scaled else 1.0
        return scale * np.linspace(self.beta_start, self.beta_end, self.num_timesteps)


@dataclass(frozen=True)
class Cosine(DiscreteSchedule):
    """beta_i = min(1 - f(i+1)/f(i), max_beta), f(i) = cos^2(pi/2 (i/T + s) / (1 + s)).

    Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17.
    """

    s: float = 0.008
    max_beta: float = 0.999

    def __post_init__(self):
        if not (self.s >= 0 and 0 < self.max_beta < 1):
            raise ValueError("needs s >= 0 and 0 < max_beta < 1")
        super().__post_init__()

    def betas(self) -> np.ndarray:
        i = np.arange(self.num_timesteps + 1) / self.num_timesteps
        f = np.cos(np.pi / 2 * (i + self.s) / (1 + self.s)) ** 2
        return np.minimum(1 - f[1:] / f[:-1], self.max_beta)


def _root_linear(start: float, end: float, steps: int) -> np.ndarray:
    return np.linspace(start**0.5, end**0.5, steps) ** 2


@dataclass(frozen=True)
class ScaledLinear(DiscreteSchedule):
    """sqrt(beta) linear from sqrt(beta_start) to sqrt(beta_end).

    The defaults are Stable Diffusion's: Rombach et al. 2022, arXiv:2112.10752.
    """

    beta_start: float = 0.00085
    beta_end: float = 0.012

    def betas(self) -> np.ndarray:
        return _root_linear(self.beta_start, self.beta_end, self.num_timesteps)


@dataclass(frozen=True)
class Quadratic(DiscreteSchedule):
    """The form of ScaledLinear with the ends of Linear.

    Named among the alternatives to the linear betas by Ho et al. 2020, arXiv:2006.11239, section 4.
    """

    beta_start: float = 1e-4
    beta_end: float = 0.02

    def betas(self) -> np.ndarray:
        return _root_linear(self.beta_start, self.beta_end, self.num_timesteps)


@dataclass(frozen=True)
class Constant(DiscreteSchedule):
    """beta the same at every step. Ho et al. 2020, arXiv:2006.11239."""

    beta: float = 0.01

    def betas(self) -> np.ndarray:
        return np.full(self.num_timesteps, self.beta)


@dataclass(frozen=True)
class Inverse(DiscreteSchedule):
    """beta_i = min(1 / (T - i), max_beta), i = 0 .. T-1: abar falls linearly, abar_i = 1 - (i+1)/T.

    Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.4.1.
    """

    max_beta: float = 0.999

    def betas(self) -> np.ndarray:
        return np.minimum(1 / (self.num_timesteps - np.arange(self.num_timesteps)), self.max_beta)


DISCRETE = {
    "linear": Linear,
    "scaled_linear": ScaledLinear,
    "quadratic": Quadratic,
    "constant": Constant,
    "inverse": Inverse,
    "cosine": Cosine,
}
