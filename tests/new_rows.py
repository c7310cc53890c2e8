"""Rows that a user might add; importing this adds them to the tables."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from ddm_jax.diffusion import noise_conds, predictions, samplers, schedules
from ddm_jax.diffusion.losses import distances, objectives, time_samplers, weightings
from ddm_jax.diffusion.samplers import one_step, timesteps
from ddm_jax.diffusion.schedules.base import Fixed


@dataclass(frozen=True)
class Square(Fixed):
    """alpha^2 = 1 - u^2, u from low to high."""

    low: float = 0.02
    high: float = 0.999

    def u(self, t):
        return self.low + jnp.asarray(t, jnp.float32) * (self.high - self.low)

    def alpha(self, t):
        return jnp.sqrt(1 - self.u(t) ** 2)

    def sigma(self, t):
        return self.u(t)

    def logsnr(self, t):
        return jnp.log1p(-(self.u(t) ** 2)) - 2 * jnp.log(self.u(t))

    def time(self, logsnr):
        return (jnp.sqrt(1 / (1 + jnp.exp(logsnr))) - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Residual:
    """F = x_t - x_0."""

    def coefficients(self, alpha, sigma):
        return jnp.ones_like(alpha), -jnp.ones_like(alpha), jnp.ones_like(alpha)


@dataclass(frozen=True)
class RootSNR:
    """w = sqrt(SNR)."""

    def on_x0(self, schedule, prediction, t):
        return jnp.exp(0.5 * schedule.logsnr(t))


@dataclass(frozen=True)
class CubicGrid:
    """t_k = (1 - k / n)^3."""

    def times(self, schedule, steps):
        if steps < 1:
            raise ValueError(f"{steps} sampling steps; at least 1 is needed")
        return ((1 - np.arange(steps) / steps) ** 3).astype(np.float32)


@dataclass(frozen=True)
class Plain(one_step.DDIM):
    """DDIM under another name."""


@dataclass(frozen=True)
class Quartic:
    """e^4."""

    def __call__(self, e):
        return e**4


@dataclass(frozen=True)
class Root(time_samplers.TimeSampler):
    """t = sqrt(u): more noise more often."""

    def quantile(self, schedule, u, memory):
        return jnp.sqrt(u)


@dataclass(frozen=True)
class NoiseRate:
    """scale sigma(t)."""

    scale: float = 1.0

    def __call__(self, schedule, t):
        return self.scale * schedule.sigma(t)


@dataclass(frozen=True)
class Doubled(objectives.Weighted):
    """Twice the weighting's loss."""

    def loss(self, problem, params, schedule, batch):
        loss, parts = super().loss(problem, params, schedule, batch)
        return 2 * loss, parts


schedules.SCHEDULES["square"] = Square
predictions.PREDICTIONS["residual"] = Residual
weightings.WEIGHTINGS["root_snr"] = RootSNR
timesteps.TIMESTEPS["cubic"] = CubicGrid
samplers.SAMPLERS["plain"] = Plain
distances.DISTANCES["quartic"] = Quartic
time_samplers.TIME_SAMPLERS["root"] = Root
noise_conds.NOISE_CONDS["noise_rate"] = NoiseRate
objectives.OBJECTIVES["doubled"] = Doubled
