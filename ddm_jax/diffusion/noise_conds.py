"""What the network is told of the noise level, one number for each example."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.diffusion.arrays import OfTimes, Times, real
from ddm_jax.diffusion.schedules.base import Rates


@runtime_checkable
class NoiseCond(Protocol):
    """One number for each time."""

    def __call__(self, schedule: Rates, t: Times) -> OfTimes:
        """t: (B,) -> (B,)."""
        ...


@dataclass(frozen=True)
class Timestep:
    """scale t (T - 1): the 0-based index of the published level, in [0, T - 1]."""

    scale: float = 1.0

    def __call__(self, schedule: Rates, t: Times) -> OfTimes:
        return self.scale * real(t) * (schedule.num_timesteps - 1)


@dataclass(frozen=True)
class Time:
    """scale t, in [0, 1]."""

    scale: float = 1.0

    def __call__(self, schedule: Rates, t: Times) -> OfTimes:
        return self.scale * real(t)


@dataclass(frozen=True)
class LogSNR:
    """scale logsnr(t). Kingma et al. 2021, arXiv:2107.00630."""

    scale: float = 1.0

    def __call__(self, schedule: Rates, t: Times) -> OfTimes:
        return self.scale * schedule.logsnr(t)


@dataclass(frozen=True)
class NoiseVariance:
    """scale sigma(t)^2."""

    scale: float = 1.0

    def __call__(self, schedule: Rates, t: Times) -> OfTimes:
        return self.scale * schedule.sigma(t) ** 2


@dataclass(frozen=True)
class LnSigma:
    """scale ln(sigma / alpha) / 4. Karras et al. 2022, arXiv:2206.00364, table 1."""

    scale: float = 1.0

    def __call__(self, schedule: Rates, t: Times) -> OfTimes:
        return self.scale * -0.125 * schedule.logsnr(t)


def random_waves(values: Times, count: int) -> Array:
    """sqrt(2) cos(2 pi (f_i v + p_i)), f_i ~ N(0, 1) and p_i ~ U(0, 1), the same at every call.

    (B,) -> (B, count), float32, with mean square 1 over i. Tancik et al. 2020, arXiv:2006.10739.
    """
    rng = np.random.default_rng(0)
    rate = rng.standard_normal(count).astype(np.float32)
    phase = rng.random(count, np.float32)
    return np.sqrt(2) * jnp.cos(2 * np.pi * (real(values)[:, None] * rate + phase))


NOISE_CONDS = {
    "timestep": Timestep,
    "time": Time,
    "logsnr": LogSNR,
    "noise_variance": NoiseVariance,
    "ln_sigma": LnSigma,
}
