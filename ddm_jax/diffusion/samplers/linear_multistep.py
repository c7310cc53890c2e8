"""Linear multistep solvers of dy/dr = eps_hat: one evaluation a step, the slopes behind remembered.

With y = x / alpha and r = sigma / alpha every step is x_s = (sigma_s / sigma_t) x_t
+ alpha_s (1 - e^-h) x0_t + alpha_s (r_s - r_t) e, h = lambda_s - lambda_t: DDIM's step, and `e`, by
how much the mean slope exceeds eps_t. There alpha_s (r_s - r_t) = sigma_s (1 - e^h). The first
steps, which have fewer slopes behind them, are of lower order: 1, 2, 3, ...
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ddm_jax.diffusion.arrays import Keys, T, X, expand
from ddm_jax.diffusion.process import Denoise, noise_of
from ddm_jax.diffusion.samplers.base import Memory, Sampler, check_among, rates
from ddm_jax.diffusion.samplers.history import History, excess, no_history, nodes, over
from ddm_jax.diffusion.schedules.base import Schedule

VARIABLES = ("rho", "log_rho", "t")


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

    def init(self, x: X) -> History:
        return no_history(x, self.order - 1)

    def step(
        self, denoise: Denoise, schedule: Schedule, x_t: X, *, t: T, s: T, key: Keys, memory: Memory
    ) -> tuple[X, Memory]:
        alpha_s, sigma_s, lambda_s = rates(schedule, s, x_t)
        _, sigma_t, lambda_t = rates(schedule, t, x_t)
        h = lambda_s - lambda_t
        x0_t = denoise(x_t, t).x0
        eps_t = noise_of(schedule, x_t, x0_t, t)
        # In u = (r - r_t) / (r_s - r_t) the step is [0, 1], where u^k has the mean 1 / (k + 1).
        lambdas = (rates(schedule, r, x_t)[2] for r in memory.times)
        u = [jnp.zeros_like(h)]
        u += [over(jnp.expm1(lambda_t - lambda_r), jnp.expm1(-h)) for lambda_r in lambdas]
        e = excess([eps_t, *memory.values], u, memory.known, (1 / 2, 1 / 3, 1 / 4))
        x_s = sigma_s / sigma_t * x_t - alpha_s * jnp.expm1(-h) * x0_t
        return x_s - sigma_s * jnp.expm1(h) * e, memory.push(eps_t, t)


@dataclass(frozen=True)
class DEIS(Sampler):
    """y_s = y_t + int P dr, P a polynomial in `variable` through the last `order` slopes.

    `variable` is "log_rho" (log r, half the log-SNR but for the sign), "t" (tAB-DEIS) or "rho"
    (rhoAB-DEIS, the same as AdamsBashforth). With u from 0 at t to 1 at s, even in the variable,
    and the share q(u) = (r(u) - r_t) / (r_s - r_t) of the step, the moments of u are
    int u^k dq = 1 - k int u^(k-1) q du. The integrals are exact to rounding, but for "t" on a
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

    def init(self, x: X) -> History:
        return no_history(x, self.order - 1)

    def step(
        self, denoise: Denoise, schedule: Schedule, x_t: X, *, t: T, s: T, key: Keys, memory: Memory
    ) -> tuple[X, Memory]:
        alpha_s, sigma_s, lambda_s = rates(schedule, s, x_t)
        _, sigma_t, lambda_t = rates(schedule, t, x_t)
        h = lambda_s - lambda_t
        x0_t = denoise(x_t, t).x0
        eps_t = noise_of(schedule, x_t, x0_t, t)
        lambdas = [rates(schedule, r, x_t)[2] for r in memory.times]
        v, weights = nodes(x_t)
        if self.variable == "rho":
            u = [over(jnp.expm1(lambda_t - lambda_r), jnp.expm1(-h)) for lambda_r in lambdas]
            q = v
        elif self.variable == "log_rho":
            u = [over(lambda_r - lambda_t, h) for lambda_r in lambdas]
            q = over(jnp.expm1(-v * h), jnp.expm1(-h))
        else:
            u = [expand(over(r - t, s - t), x_t) for r in memory.times]
            lambda_v = 0.5 * schedule.logsnr(expand(t, x_t) + v * expand(s - t, x_t))
            q = over(jnp.expm1(lambda_t - lambda_v), jnp.expm1(-h))
        moments = [1 - k * (weights * v ** (k - 1) * q).sum(0) for k in range(1, self.order)]
        places = [jnp.zeros_like(h), *u]
        e = excess([eps_t, *memory.values], places, memory.known, moments)
        x_s = sigma_s / sigma_t * x_t - alpha_s * jnp.expm1(-h) * x0_t
        return x_s - sigma_s * jnp.expm1(h) * e, memory.push(eps_t, t)


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

    def init(self, x: X) -> History:
        return no_history(x, 3)

    def step(
        self, denoise: Denoise, schedule: Schedule, x_t: X, *, t: T, s: T, key: Keys, memory: Memory
    ) -> tuple[X, Memory]:
        _, sigma_t, lambda_t = rates(schedule, t, x_t)
        x0_t = denoise(x_t, t).x0
        eps_t = noise_of(schedule, x_t, x0_t, t)
        weights = (expand(jnp.asarray(w, x_t.dtype)[memory.known], x_t) for w in EQUAL[1:])
        pairs = zip(weights, memory.values, strict=True)
        e = sum((w * (eps_k - eps_t) for w, eps_k in pairs), start=jnp.zeros_like(x_t))

        def ddim(u: T, e: X) -> X:
            """x at u by DDIM's step from t with the slope eps_t + e."""
            alpha_u, sigma_u, lambda_u = rates(schedule, u, x_t)
            h = lambda_u - lambda_t
            x_u = sigma_u / sigma_t * x_t - alpha_u * jnp.expm1(-h) * x0_t
            return x_u - sigma_u * jnp.expm1(h) * e

        def runge_kutta() -> X:
            """The excesses over eps_t of the slopes, the first of which is eps_t itself."""
            places, excesses = (0.5 * (t + s), 0.5 * (t + s), s), [jnp.zeros_like(x_t)]
            for u in places:
                x_u = ddim(u, excesses[-1])
                excesses.append(noise_of(schedule, x_u, denoise(x_u, u).x0, u) - eps_t)
            _, e_2, e_3, e_4 = excesses
            return (2 * e_2 + 2 * e_3 + e_4) / 6

        if self.warmup == "runge_kutta":
            early = expand(memory.known, x_t) < 3
            e = jax.lax.cond(early.any(), lambda: jnp.where(early, runge_kutta(), e), lambda: e)
        return ddim(s, e), memory.push(eps_t, t)


LINEAR_MULTISTEP = {"adams_bashforth": AdamsBashforth, "pndm": PNDM, "deis": DEIS}
