"""Exponential multistep solvers: the linear part of the ODE exactly, a polynomial for x0_hat.

x_s = (sigma_s / sigma_t) x_t + alpha_s int e^-(l_s - l) x0_hat dl over half log-SNR l, one
evaluation a step. The first steps, which have fewer estimates behind them, are of lower order.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import expand
from ddm_jax.diffusion.samplers.base import (
    Sampler,
    check_among,
    check_eta,
    exponential_step,
    half_step,
)
from ddm_jax.diffusion.samplers.history import History, excess, no_history, over
from ddm_jax.diffusion.schedules.base import Schedule


def _extrapolate(
    schedule: Schedule, x0: Array, history: History, t: Array, s: Array, rate: Array
) -> Array:
    """The constant x_0 that stands for the polynomial through x0 at t and the history.

    The mean of the polynomial over l from t to s under a density that grows like e^(rate u), u
    from 0 to 1.
    """
    h = half_step(schedule, t, s, x0)
    places = [jnp.zeros_like(h), *(over(half_step(schedule, t, u, x0), h) for u in history.times)]
    return x0 + excess([x0, *history.values], places, history.known, _growing(rate))


def _growing(rate: Array):
    """The distribution function on [0, 1] whose density grows like e^(rate u)."""
    return lambda u: jnp.exp(rate * (u - 1)) * over(jnp.expm1(-rate * u), jnp.expm1(-rate))


@dataclass(frozen=True)
class DPMpp2M(Sampler):
    """DPM-Solver++(2M) and its SDE variant: exponential multistep on x0_hat, one evaluation a step.

    x_s = (sigma_s / sigma_t) e^(-eta h) x + alpha_s (1 - e^-k) (D_t + w (D_t - D_prev))
          + sigma_s sqrt(1 - e^(-2 eta h)) z,  k = (1 + eta) h, w = h / (2 h_prev),
    h the step in half log-SNR; the first step has w = 0. eta = 0 is the ODE, order 2; eta = 1 the
    reverse SDE, whose first step is ancestral sampling. Lu et al. 2022, arXiv:2211.01095,
    algorithm 2; the SDE in its appendix.
    """

    eta: float = 0.0

    def __post_init__(self):
        check_eta(self.eta)

    @property
    def convergence(self) -> int | None:
        return None if self.eta else 2

    def init(self, x: Array) -> History:
        return no_history(x, 1)

    def step(self, denoise, schedule, x, t, s, key, memory):
        x0, h = denoise(x, t).x0, half_step(schedule, t, s, x)
        h_before = half_step(schedule, memory.times[0], t, x)
        w = jnp.where(expand(memory.known, x) > 0, over(h, 2 * h_before), 0.0)
        mean = x0 + w * (x0 - memory.values[0])
        return exponential_step(schedule, x, mean, t, s, self.eta, key), memory.push(x0, t)


@dataclass(frozen=True)
class DPMpp3M(Sampler):
    """DPM-Solver++(3M) and its SDE variant: as 2M, with a parabola through three estimates.

    To (1 - e^-k) D_t are added phi2 h D' - phi3 h^2 D'' with the parabola's derivatives at t,
    phi2 = 1 - (1 - e^-k) / k, phi3 = phi2 / k - 1/2, k = (1 + eta) h. Order 3 for eta = 0; the
    first step has order 1, the second order 2. Lu et al. 2022, arXiv:2211.01095. The authors' code
    and those that follow it take half of D'', which leaves order 2.
    """

    eta: float = 0.0

    def __post_init__(self):
        check_eta(self.eta)

    @property
    def convergence(self) -> int | None:
        return None if self.eta else 3

    def init(self, x: Array) -> History:
        return no_history(x, 2)

    def step(self, denoise, schedule, x, t, s, key, memory):
        x0, k = denoise(x, t).x0, (1 + self.eta) * half_step(schedule, t, s, x)
        mean = _extrapolate(schedule, x0, memory, t, s, k)
        return exponential_step(schedule, x, mean, t, s, self.eta, key), memory.push(x0, t)


@dataclass(frozen=True)
class UniPC(Sampler):
    """UniPC on x0_hat: multistep predictor of `order` p with a corrector of order p + 1.

    Both are DDIM's step from t with the polynomial through the last p estimates in place of one;
    the corrector's goes through the estimate at s as well. A polynomial of degree 1 is taken as
    alpha_s B(h) / 2 times the difference, B(h) = h (`variant` "bh1") or 1 - e^-h ("bh2"); the
    others do not depend on B. Each step corrects x_t with the estimate that it needs anyhow, which
    is made before the correction, then predicts: one evaluation a step. So x at the last time, of
    which the sample is the estimate, is a prediction, as in the authors' code; one step of the
    predictor errs by O(h^(p + 1)), as all corrected steps together. The first step's own error is
    O(h^3), so the order 4 of p = 3 needs better starting values. Zhao et al. 2023,
    arXiv:2302.04867, algorithms 5 and 6, theorem 3.1.
    """

    order: int = 2
    variant: str = "bh2"

    def __post_init__(self):
        check_among("order", self.order, (1, 2, 3))
        check_among("variant", self.variant, ("bh1", "bh2"))

    @property
    def convergence(self) -> int:
        return min(self.order + 1, 3)

    def init(self, x: Array) -> tuple[Array, History]:
        return jnp.zeros_like(x), no_history(x, self.order)  # x corrected, and estimates

    def step(self, denoise, schedule, x, t, s, key, memory):
        before, behind = memory
        x0 = denoise(x, t).x0
        # The estimate at t stands at place 1 of the step that led here, those behind at <= 0.
        corrected = self._move(
            schedule,
            before,
            behind.times[0],
            t,
            (behind.values[0], x0, *behind.values[1:]),
            (t, *behind.times[1:]),
            behind.known,
        )
        x = jnp.where(expand(behind.known, x) == 0, x, corrected)
        predicted = self._move(
            schedule, x, t, s, (x0, *behind.values[:-1]), behind.times[:-1], behind.known
        )
        return predicted, (x, behind.push(x0, t))

    def _move(self, schedule, x, t, s, values, times, count) -> Array:
        """x at s from x at t by the first 1 + count values, at t and at `times`."""
        h = half_step(schedule, t, s, x)
        if not times:
            return exponential_step(schedule, x, values[0], t, s)
        places = [jnp.zeros_like(h), *(over(half_step(schedule, t, u, x), h) for u in times)]
        gain = -jnp.expm1(-h)
        more = gain * excess(values, places, count, _growing(h))
        line = 0.5 * over(values[1] - values[0], places[1]) * (h if self.variant == "bh1" else gain)
        more = jnp.where(jnp.minimum(expand(count, x), len(times)) == 1, line, more)
        turned = expand(schedule.alpha(s), x) * more
        return exponential_step(schedule, x, values[0], t, s) + turned


EXPONENTIAL = {"dpmpp_2m": DPMpp2M, "dpmpp_3m": DPMpp3M, "unipc": UniPC}
