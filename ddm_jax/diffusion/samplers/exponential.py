"""Exponential multistep solvers: the linear part of the ODE exactly, a polynomial for x0_hat.

x_s = (sigma_s / sigma_t) x_t + alpha_s int e^-(lambda_s - lambda) x0_hat dlambda over half log-SNR
lambda, one evaluation a step. The first steps, which have fewer estimates behind them, are of lower
order. Times fall: q > r > t > s, with the estimates x0_q and x0_r behind, x0_t made in this step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import Keys, T, X, expand, normal_like
from ddm_jax.diffusion.process import Denoise
from ddm_jax.diffusion.samplers.base import Memory, Sampler, WithEta, check_among, rates
from ddm_jax.diffusion.samplers.history import History, excess, no_history, over, phi
from ddm_jax.diffusion.schedules.base import Schedule


@dataclass(frozen=True)
class DPMpp2M(WithEta):
    """DPM-Solver++(2M) and its SDE variant: exponential multistep on x0_hat, one evaluation a step.

    x_s = (sigma_s / sigma_t) e^(-eta h) x_t + alpha_s (1 - e^-(1 + eta) h) D
          + sigma_s sqrt(1 - e^(-2 eta h)) z,
    D = x0_t + h / (2 h_r) (x0_t - x0_r), h = lambda_s - lambda_t, h_r = lambda_t - lambda_r; the
    first step has D = x0_t. eta = 0 is the ODE, order 2; eta = 1 the reverse SDE, whose first step
    is ancestral sampling. Lu et al. 2022, arXiv:2211.01095, algorithm 2; the SDE in its appendix.
    """

    order: ClassVar[int] = 2

    def init(self, x: X) -> History:
        return no_history(x, 1)

    def step(
        self, denoise: Denoise, schedule: Schedule, x_t: X, *, t: T, s: T, key: Keys, memory: Memory
    ) -> tuple[X, Memory]:
        (x0_r,), (r,), known = memory
        alpha_s, sigma_s, lambda_s = rates(schedule, s, x_t)
        _, sigma_t, lambda_t = rates(schedule, t, x_t)
        h, h_r = lambda_s - lambda_t, lambda_t - rates(schedule, r, x_t)[2]
        x0_t = denoise(x_t, t).x0
        w = jnp.where(expand(known, x_t) > 0, over(h, 2 * h_r), 0.0)
        d = x0_t + w * (x0_t - x0_r)
        decay = sigma_s / sigma_t * jnp.exp(-self.eta * h)
        x_s = decay * x_t - alpha_s * jnp.expm1(-(1 + self.eta) * h) * d
        if self.eta:
            spread = sigma_s * jnp.sqrt(-jnp.expm1(-2 * self.eta * h))
            x_s = x_s + spread * normal_like(key, x_t)
        return x_s, memory.push(x0_t, t)


@dataclass(frozen=True)
class DPMpp3M(WithEta):
    """DPM-Solver++(3M) and its SDE variant: as 2M, with a parabola through three estimates.

    x_s = (sigma_s / sigma_t) e^(-eta h) x_t
          + alpha_s k (phi_1(-k) x0_t + phi_2(-k) h D' + phi_3(-k) h^2 D'')
          + sigma_s sqrt(1 - e^(-2 eta h)) z,
    k = (1 + eta) h, D' and D'' the parabola's derivatives by lambda at t. Order 3 for eta = 0; the
    first step has order 1, the second order 2. Lu et al. 2022, arXiv:2211.01095. The authors' code
    and those that follow it take half of D'', which leaves order 2.
    """

    order: ClassVar[int] = 3

    def init(self, x: X) -> History:
        return no_history(x, 2)

    def step(
        self, denoise: Denoise, schedule: Schedule, x_t: X, *, t: T, s: T, key: Keys, memory: Memory
    ) -> tuple[X, Memory]:
        (x0_r, x0_q), (r, q), known = memory
        alpha_s, sigma_s, lambda_s = rates(schedule, s, x_t)
        _, sigma_t, lambda_t = rates(schedule, t, x_t)
        lambda_r, lambda_q = (rates(schedule, u, x_t)[2] for u in (r, q))
        h = lambda_s - lambda_t
        x0_t = denoise(x_t, t).x0
        # Divided differences, 0 for estimates that are not there yet.
        known = expand(known, x_t)
        d_tr = jnp.where(known > 0, over(x0_t - x0_r, lambda_t - lambda_r), 0.0)
        d_rq = jnp.where(known > 1, over(x0_r - x0_q, lambda_r - lambda_q), d_tr)
        bend = over(d_tr - d_rq, lambda_t - lambda_q)
        d1, d2 = d_tr + (lambda_t - lambda_r) * bend, 2 * bend
        k = (1 + self.eta) * h
        decay = sigma_s / sigma_t * jnp.exp(-self.eta * h)
        x_s = decay * x_t - alpha_s * jnp.expm1(-k) * x0_t
        x_s = x_s + alpha_s * k * h * (phi(2, -k) * d1 + phi(3, -k) * h * d2)
        if self.eta:
            spread = sigma_s * jnp.sqrt(-jnp.expm1(-2 * self.eta * h))
            x_s = x_s + spread * normal_like(key, x_t)
        return x_s, memory.push(x0_t, t)


@dataclass(frozen=True)
class UniPC(Sampler):
    """UniPC on x0_hat: multistep predictor of `order` p with a corrector of order p + 1.

    Both are x_s = (sigma_s / sigma_t) x_t + alpha_s int e^-(lambda_s - lambda) P dlambda, P the
    polynomial through the last p estimates; the corrector's goes through the estimate at s as well.
    A polynomial of degree 1 is taken as alpha_s B(h) / 2 times the difference, B(h) = h (`variant`
    "bh1") or 1 - e^-h ("bh2"); the others do not depend on B. Each step corrects x_t with the
    estimate that it needs anyhow, which is made before the correction, then predicts: one
    evaluation a step. So x at the last time, of which the sample is the estimate, is a prediction,
    as in the authors' code; one step of the predictor errs by O(h^(p + 1)), as all corrected steps
    together. The first step's own error is O(h^3), so the order 4 of p = 3 needs better starting
    values. Zhao et al. 2023, arXiv:2302.04867, algorithms 5 and 6, theorem 3.1.
    """

    order: int = 2
    variant: str = "bh2"

    def __post_init__(self):
        check_among("order", self.order, (1, 2, 3))
        check_among("variant", self.variant, ("bh1", "bh2"))

    @property
    def convergence(self) -> int:
        return min(self.order + 1, 3)

    def init(self, x: X) -> tuple[Array, History]:
        return jnp.zeros_like(x), no_history(x, self.order)  # x_r corrected, and estimates

    def step(
        self, denoise: Denoise, schedule: Schedule, x_t: X, *, t: T, s: T, key: Keys, memory: Memory
    ) -> tuple[X, Memory]:
        x_r, ((x0_r, *x0_older), (r, *older), known) = memory
        x0_t = denoise(x_t, t).x0
        corrected = self._move(
            schedule, x_r, r, t, x0=(x0_r, x0_t, *x0_older), times=(r, t, *older), known=known
        )
        x_t = jnp.where(expand(known, x_t) == 0, x_t, corrected)
        x_s = self._move(
            schedule,
            x_t,
            t,
            s,
            x0=(x0_t, x0_r, *x0_older)[:-1],
            times=(t, r, *older)[:-1],
            known=known,
        )
        return x_s, (x_t, memory[1].push(x0_t, t))

    def _move(
        self,
        schedule: Schedule,
        x_t: X,
        t: T,
        s: T,
        *,
        x0: Sequence[X],
        times: Sequence[T],
        known: Array,
    ) -> X:
        """x_s by the polynomial through the first 1 + known of the estimates x0 at `times`."""
        alpha_s, sigma_s, lambda_s = rates(schedule, s, x_t)
        _, sigma_t, lambda_t = rates(schedule, t, x_t)
        h = lambda_s - lambda_t
        x_s = sigma_s / sigma_t * x_t - alpha_s * jnp.expm1(-h) * x0[0]
        if len(x0) == 1:
            return x_s
        # In u = (lambda - lambda_t) / h the weight is h e^((u - 1) h); its moments are n! h phi.
        u = [over(rates(schedule, v, x_t)[2] - lambda_t, h) for v in times]
        more = excess(x0, u, known, (h * phi(2, -h), 2 * h * phi(3, -h), 6 * h * phi(4, -h)))
        b = h if self.variant == "bh1" else -jnp.expm1(-h)
        line = 0.5 * b * over(x0[1] - x0[0], u[1])
        few = jnp.minimum(expand(known, x_t), len(x0) - 1) == 1
        return x_s + alpha_s * jnp.where(few, line, more)


EXPONENTIAL = {"dpmpp_2m": DPMpp2M, "dpmpp_3m": DPMpp3M, "unipc": UniPC}
