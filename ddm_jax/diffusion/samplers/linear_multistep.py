"""Linear multistep solvers of dy/dr = eps_hat: one evaluation a step, the slopes behind remembered.

The first steps, which have fewer slopes behind them, are of lower order: 1, 2, 3, ...
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.diffusion.arrays import expand
from ddm_jax.diffusion.process import Denoise, noise_of
from ddm_jax.diffusion.samplers.base import Sampler, check_among, exponential_step, half_step, turn
from ddm_jax.diffusion.samplers.history import History, excess, no_history, over
from ddm_jax.diffusion.schedules.base import Schedule

VARIABLES = ("rho", "log_rho", "t")


def _multistep(
    schedule: Schedule, x: Array, x0: Array, t: Array, s: Array, history: History, variable: str
) -> tuple[Array, History]:
    """y_s = y_t + int P dr, P the polynomial in `variable` through the slopes at t and before."""
    h = half_step(schedule, t, s, x)

    def place(u: Array) -> Array:
        """0 at t, 1 at s."""
        if variable == "t":
            return expand(over(u - t, s - t), x)
        l_u = half_step(schedule, t, u, x)
        return over(jnp.expm1(-l_u), jnp.expm1(-h)) if variable == "rho" else over(l_u, h)

    def share(u: np.ndarray) -> Array | np.ndarray:
        """(r - r_t) / (r_s - r_t) at places u (n, 1, ...)."""
        if variable == "rho":
            return u
        l_u = h * u
        if variable == "t":
            at = schedule.logsnr(expand(t, x) + u * expand(s - t, x))
            l_u = 0.5 * (at - expand(schedule.logsnr(t), x))
        return over(jnp.expm1(-l_u), jnp.expm1(-h))

    slope = noise_of(schedule, x, x0, t)
    places = [jnp.zeros_like(h), *(place(u) for u in history.times)]
    more = excess([slope, *history.values], places, history.known, share)
    x = exponential_step(schedule, x, x0, t, s) + turn(schedule, more, t, s)
    return x, history.push(slope, t)


@dataclass(frozen=True)
class AdamsBashforth(Sampler):
    """y_s = y_t + int P(r) dr, P the polynomial in r through the last `order` slopes.

    For any spacing; order 2 is y_t + h ((1 + w) d_t - w d_prev), h = r_s - r_t, w = h / (2 h_prev).
    "LMS" in k-diffusion (Crowson 2022), rhoAB-DEIS of Zhang & Chen 2022, arXiv:2204.13902.
    """

    order: int = 2

    def __post_init__(self):
        check_among("order", self.order, (1, 2, 3, 4))

    @property
    def convergence(self) -> int:
        return self.order

    def init(self, x: Array) -> History:
        return no_history(x, self.order - 1)

    def step(self, denoise, schedule, x, t, s, key, memory):
        return _multistep(schedule, x, denoise(x, t).x0, t, s, memory, "rho")


@dataclass(frozen=True)
class DEIS(Sampler):
    """y_s = y_t + int P dr, P a polynomial in `variable` through the last `order` slopes.

    `variable` is "log_rho" (log r, half the log-SNR but for the sign), "t" (tAB-DEIS) or "rho"
    (rhoAB-DEIS, the same as AdamsBashforth). The integrals are exact to rounding, but for "t" on a
    discrete schedule, whose kinks at the levels leave 2e-5. Zhang & Chen 2022, arXiv:2204.13902,
    eq. 14 and 15, section 4.
    """

    order: int = 3
    variable: str = "log_rho"

    def __post_init__(self):
        check_among("order", self.order, (1, 2, 3))
        check_among("variable", self.variable, VARIABLES)

    @property
    def convergence(self) -> int:
        return self.order

    def init(self, x: Array) -> History:
        return no_history(x, self.order - 1)

    def step(self, denoise, schedule, x, t, s, key, memory):
        return _multistep(schedule, x, denoise(x, t).x0, t, s, memory, self.variable)


# Adams-Bashforth with equal steps: the weights of the newest slope, the one before, and so on, each
# for 0, 1, 2 and 3 slopes behind. Over a number of slopes they sum to 1.
EQUAL = (
    (1, 3 / 2, 23 / 12, 55 / 24),
    (0, -1 / 2, -16 / 12, -59 / 24),
    (0, 0, 5 / 12, 37 / 24),
    (0, 0, 0, -9 / 24),
)


@dataclass(frozen=True)
class PNDM(Sampler):
    """DDIM's step with eps' = (55 eps_t - 59 eps_1 + 37 eps_2 - 9 eps_3) / 24, eps_k from k before.

    `warmup` says what the first three steps are: "plms", the same with orders 1, 2, 3, one
    evaluation each; or "runge_kutta", four evaluations each,
    eps' = (e_1 + 2 e_2 + 2 e_3 + e_4) / 6 at t, twice at (t + s) / 2, and at s.
    The weights are those of equal steps in r. Where r is a smooth function of the step, as on any
    grid that is even in t or in log-SNR, order 2 is left, as published; the full order 4 needs
    steps that are equal in r. Liu et al. 2022, arXiv:2202.09778, eq. 9 to 13 and theorem 3.
    """

    warmup: str = "plms"

    def __post_init__(self):
        check_among("warmup", self.warmup, ("plms", "runge_kutta"))

    @property
    def convergence(self) -> int:
        return 2

    @property
    def evaluations(self) -> int | None:
        return 1 if self.warmup == "plms" else None

    def init(self, x: Array) -> History:
        return no_history(x, 3)

    def step(self, denoise, schedule, x, t, s, key, memory):
        x0 = denoise(x, t).x0
        slope = noise_of(schedule, x, x0, t)

        def linear() -> Array:
            weights = (expand(jnp.asarray(w, x.dtype)[memory.known], x) for w in EQUAL[1:])
            terms = (w * (e - slope) for w, e in zip(weights, memory.values, strict=True))
            return sum(terms, start=jnp.zeros_like(slope))

        more = linear()
        if self.warmup == "runge_kutta":
            early = expand(memory.known, x) < 3
            more = jax.lax.cond(
                early.any(),
                lambda: jnp.where(early, _runge_kutta(denoise, schedule, x, x0, t, s), more),
                lambda: more,
            )
        x = exponential_step(schedule, x, x0, t, s) + turn(schedule, more, t, s)
        return x, memory.push(slope, t)


def _runge_kutta(
    denoise: Denoise, schedule: Schedule, x: Array, x0: Array, t: Array, s: Array
) -> Array:
    """The mean slope of the pseudo Runge-Kutta step less that at t: three more evaluations."""
    first = noise_of(schedule, x, x0, t)
    more, total = jnp.zeros_like(x), jnp.zeros_like(x)
    middle = 0.5 * (t + s)
    for u, weight in ((middle, 2), (middle, 2), (s, 1)):
        x_u = exponential_step(schedule, x, x0, t, u) + turn(schedule, more, t, u)
        more = noise_of(schedule, x_u, denoise(x_u, u).x0, u) - first
        total = total + weight / 6 * more
    return total


LINEAR_MULTISTEP = {"adams_bashforth": AdamsBashforth, "pndm": PNDM, "deis": DEIS}
