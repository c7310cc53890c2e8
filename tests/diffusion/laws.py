"""What the laws of the samplers share: exact denoisers, starts, and who is under which law."""

import jax
import jax.numpy as jnp
import numpy as np

from ddm_jax.diffusion.analytic import gaussian
from ddm_jax.diffusion.core import Estimate, expand
from ddm_jax.diffusion.grids import GRIDS, ExplicitGrid
from ddm_jax.diffusion.samplers import SAMPLERS

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


DETERMINISTIC = [s for s in ROWS.values() if convergence(s) is not None]
RANDOM = [s for s in ROWS.values() if convergence(s) is None]


def deviation(schedule, t):
    """The deviation of x_t for data N(MEAN, STD^2)."""
    return jnp.sqrt(schedule.alpha(t) ** 2 * STD**2 + schedule.sigma(t) ** 2)


def ideal(sampler, schedule):
    """The exact denoiser of N(MEAN, STD^2), of the kind that the sampler asks for."""
    if getattr(sampler, "estimate", "mean") == "mean":
        return gaussian(schedule, MEAN, STD)

    def end(x_t, t):
        z = (x_t - expand(schedule.alpha(t), x_t) * MEAN) / expand(deviation(schedule, t), x_t)
        return Estimate(MEAN + STD * z)

    return end


def start(schedule, shape=(10, 1000)):
    """Draws of the true marginal at t = 1, in many dimensions as the Langevin corrector needs."""
    return schedule.alpha(ONE) * MEAN + deviation(schedule, ONE) * jax.random.normal(
        jax.random.key(0), shape
    )


def grid_of(name, steps):
    """A row of GRIDS, for `steps` steps."""
    if name == "explicit":
        return ExplicitGrid(tuple(np.linspace(1, 0.1, steps).tolist()))
    return GRIDS[name]()
