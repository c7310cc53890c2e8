"""The probability-flow ODE with steps chosen by their error, by diffrax."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import Keys, T, X, expand
from ddm_jax.diffusion.process import Denoise, marginal_scale, probability_flow
from ddm_jax.diffusion.samplers.base import Memory, Sampler, check_among
from ddm_jax.diffusion.schedules.base import Schedule

# x0_hat turns from the data's mean to x within a few units of half log-SNR: a longer step can leap
# over that, and its estimated error still be small by chance.
LONGEST = 1.0


@dataclass(frozen=True)
class Adaptive(Sampler):
    """The ODE from t to s to a tolerance, so two times are enough; each example has its own steps.

    It solves process.probability_flow for z = x / sqrt(alpha^2 + sigma^2), which keeps the data's
    scale at all times and on every schedule, over half log-SNR. A step is taken where the estimated
    error is below atol + rtol |z| (root mean square over the example).
    An example that needs more than `max_steps` from t to s becomes NaN. `solver` is "tsit5",
    "dopri5", "bosh3" or "dopri8". Dormand & Prince 1980; Song et al. 2021, arXiv:2011.13456,
    appendix D.4; diffrax, Kidger 2021, arXiv:2202.02435.
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 1000
    solver: str = "dopri5"

    def __post_init__(self):
        check_among("solver", self.solver, ("tsit5", "dopri5", "bosh3", "dopri8"))
        if not (self.rtol > 0 and self.atol > 0 and self.max_steps > 0):
            raise ValueError("needs rtol > 0, atol > 0 and max_steps > 0")

    @property
    def convergence(self) -> float:
        return math.inf

    @property
    def evaluations(self) -> None:
        return None

    def step(
        self, denoise: Denoise, schedule: Schedule, x_t: X, *, t: T, s: T, key: Keys, memory: Memory
    ) -> tuple[X, Memory]:
        import diffrax  # slow to import, and needed here alone

        solver = {
            "tsit5": diffrax.Tsit5,
            "dopri5": diffrax.Dopri5,
            "bosh3": diffrax.Bosh3,
            "dopri8": diffrax.Dopri8,
        }[self.solver]()
        start, end = 0.5 * schedule.logsnr(t), 0.5 * schedule.logsnr(s)
        slope, held = _slope(denoise, schedule, x_t, jnp.broadcast_to(start, x_t.shape[:1]))

        def solve(z: Array, start: Array, end: Array) -> Array:
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(lambda half, z, held: slope(z, half, held)),
                solver,
                t0=start,
                t1=end,
                dt0=None,
                y0=z,
                args=held,
                stepsize_controller=diffrax.PIDController(self.rtol, self.atol, dtmax=LONGEST),
                max_steps=self.max_steps,
                throw=False,
            )
            good = solution.result == diffrax.RESULTS.successful
            ends = cast(Array, solution.ys)  # None where a solver is told to save nothing
            return jnp.where(good, ends[-1], jnp.nan)

        own = (0, *(0 if jnp.ndim(half) else None for half in (start, end)))
        scale_t, scale_s = (expand(marginal_scale(schedule, u), x_t) for u in (t, s))
        return jax.vmap(solve, own)(x_t / scale_t, start, end) * scale_s, memory


def _slope(
    denoise: Denoise, schedule: Schedule, x: Array, half: Array
) -> tuple[Callable[..., Array], Any]:
    """(slope, held): dz/dl = slope(z, l, held) of one example, held what the denoiser closes over.

    A denoiser may hold conditions of the batch, so it must not see one example alone: under vmap
    the slope asks it for the whole batch at once. A rule of vmap must close over no traced array,
    so these are taken out of the denoiser. x: (B, ...), half: (B,), for their shapes.
    """
    import equinox

    field = partial(probability_flow, denoise, schedule)
    converted = equinox.filter_closure_convert(field, x, half)
    held, rest = equinox.partition(converted, equinox.is_array)

    @jax.custom_batching.custom_vmap
    def slope(z: Array, half: Array, held: Any) -> Array:
        batch = jnp.broadcast_to(z, x.shape), jnp.broadcast_to(half, x.shape[:1])
        return whole(None, None, *batch, held)[0][0]

    @slope.def_vmap
    def whole(size: Any, which: Any, *told: Any) -> tuple[Array, bool]:
        z, half, held = told
        return equinox.combine(held, rest)(z, jnp.broadcast_to(half, x.shape[:1])), True

    return slope, held


ADAPTIVE = {"adaptive": Adaptive}
