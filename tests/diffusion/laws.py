"""What the laws of the samplers share: exact denoisers, starts, and who is under which law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.diffusion.analytic import gaussian
from ddm_jax.diffusion.arrays import expand
from ddm_jax.diffusion.process import Estimate
from ddm_jax.diffusion.samplers import SAMPLERS
from ddm_jax.diffusion.samplers.timesteps import TIMESTEPS, ExplicitGrid
from ddm_jax.diffusion.schedules import SCHEDULES

MEAN, STD = 0.4, 0.5
KEY = jax.random.key(7)
ONE, ZERO = jnp.float32(1.0), jnp.float32(0.0)
ROWS = {name: cls() for name, cls in SAMPLERS.items()}


def convergence(sampler) -> float | None:
    """The published order of a sampler; None, and so under the laws of random ones, by default."""
    return getattr(sampler, "convergence", None)


def evaluations(sampler) -> int | None:
    """Calls of the denoiser in a step; one by default."""
    return getattr(sampler, "evaluations", 1)


# Those that solve in a loop of their own compile long: few laws take them among fast tests.
SPARING = [
    pytest.param(row, id=name, marks=[pytest.mark.slow] * (evaluations(row) is None))
    for name, row in ROWS.items()
]
DETERMINISTIC = [s for s in ROWS.values() if convergence(s) is not None]
RANDOM = [s for s in ROWS.values() if convergence(s) is None]


def deviation(schedule, t):
    """The deviation of x_t for data N(MEAN, STD^2)."""
    return jnp.sqrt(schedule.alpha(t) ** 2 * STD**2 + schedule.sigma(t) ** 2)


def ideal(sampler, schedule):
    """The exact denoiser of N(MEAN, STD^2), of the kind that the sampler asks for."""
    if getattr(sampler, "estimate", "mean") == "mean":
        return gaussian(schedule, MEAN, STD)

    def end(x_t, t, s=None):
        z = (x_t - expand(schedule.alpha(t), x_t) * MEAN) / expand(deviation(schedule, t), x_t)
        return Estimate(MEAN + STD * z)

    return end


def start(schedule, shape=(10, 1000)):
    """Draws of the true marginal at t = 1, in many dimensions as the Langevin corrector needs."""
    return schedule.alpha(ONE) * MEAN + deviation(schedule, ONE) * jax.random.normal(
        jax.random.key(0), shape
    )


def padded(times, length):
    """The grid, at rest at its last time until it has so many: one program serves all lengths."""
    return np.pad(np.asarray(times), (0, length - len(times)), "edge")


def grid_of(name, steps):
    """A row of TIMESTEPS, for `steps` steps."""
    if name == "explicit":
        return ExplicitGrid(tuple(np.linspace(1, 0.1, steps).tolist()))
    return TIMESTEPS[name]()


# Three settings for each schedule that are not its defaults; with a new row, its defaults alone.
SETTINGS = {
    "linear": (
        {"num_timesteps": 50, "scaled": True},
        {"num_timesteps": 4000, "zero_terminal": True},
        {"beta_start": 1e-5, "beta_end": 0.05, "num_timesteps": 300},
    ),
    "scaled_linear": (
        {"num_timesteps": 100},
        {"num_timesteps": 4000},
        {"beta_end": 0.05, "zero_terminal": True},
    ),
    "quadratic": (
        {"num_timesteps": 100},
        {"num_timesteps": 4000},
        {"beta_end": 0.05, "zero_terminal": True},
    ),
    "constant": (
        {"num_timesteps": 10},
        {"beta": 0.05},
        {"beta": 1e-3, "num_timesteps": 3000, "zero_terminal": True},
    ),
    "inverse": (
        {"num_timesteps": 10},
        {"num_timesteps": 4000},
        {"max_beta": 0.9, "zero_terminal": True},
    ),
    "cosine": (
        {"num_timesteps": 20},
        {"num_timesteps": 4000, "s": 0.02},
        {"s": 0.0, "max_beta": 0.99, "zero_terminal": True},
    ),
    "continuous_cosine": (
        {"min_logsnr": -9.0, "max_logsnr": 7.0},
        {"shift": -2.77},
        {"min_logsnr": -20.0, "max_logsnr": 20.0, "shift": 2.77},
    ),
    "sigmoid": (
        {"tau": 0.9},
        {"start": 0.0, "end": 3.0, "tau": 0.3},
        {"tau": 1.1, "min_logsnr": -9.0, "max_logsnr": 12.0},
    ),
    "laplace": (
        {"b": 0.25, "min_logsnr": -2.5, "max_logsnr": 6.0},
        {"mu": 1.0, "b": 1.0, "min_logsnr": -8.0, "max_logsnr": 12.0},
        {"mu": -1.0, "b": 2.0, "min_logsnr": -15.0, "max_logsnr": 15.0},
    ),
    "vp": (
        {"beta_max": 40.0},
        {"beta_min": 0.5, "beta_max": 8.0, "epsilon": 1e-3},
        {"beta_max": 160.0, "epsilon": 1e-4},
    ),
    "sub_vp": (
        {"beta_max": 40.0},
        {"beta_min": 0.5, "beta_max": 8.0, "epsilon": 0.01},
        {"beta_max": 30.0, "epsilon": 1e-4},
    ),
    "offset_cosine": (
        {"max_signal": 0.999, "min_signal": 0.001},
        {"max_signal": 0.8, "min_signal": 0.1},
        {"min_signal": 1e-4},
    ),
    "ve": (
        {"max_sigma": 1348.0},
        {"min_sigma": 0.2, "max_sigma": 5.0},
        {"min_sigma": 1e-3, "max_sigma": 1e3},
    ),
    "edm": (
        {"rho": 1.0},
        {"min_sigma": 0.02, "max_sigma": 10.0, "rho": 3.0},
        {"min_sigma": 1e-3, "max_sigma": 500.0},
    ),
    "flow": ({"epsilon": 1e-4}, {"epsilon": 0.02}, {"epsilon": 2e-5}),
    "learned": (
        {"max_logsnr": 9.0, "min_logsnr": -7.0, "units": 16},
        {"max_logsnr": 15.0, "min_logsnr": -15.0, "units": 8},
        {"max_logsnr": 5.0, "min_logsnr": -3.0},
    ),
}
SET = {
    f"{name}-{k}": SCHEDULES[name](**values)
    for name in SCHEDULES
    for k, values in enumerate(({}, *SETTINGS.get(name, ())))
}
