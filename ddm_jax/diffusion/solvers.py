"""Solvers of the probability-flow ODE and of the reverse SDE, each an (init, step) pair.

All are written in y = x / alpha and r = sigma / alpha, where every schedule has the same equation:
dy/dr = (y - x0_hat) / r = eps_hat. Karras et al. 2022, arXiv:2206.00364, eq. 4.
"""

import math
from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.core import (
    Denoise,
    Schedule,
    expand,
    noise_of,
    normal_like,
    sde,
)


def _ratio(schedule: Schedule, t: Array) -> Array:
    """r(t) = sigma / alpha = exp(-logsnr / 2)."""
    return jnp.exp(-0.5 * schedule.logsnr(t))


def _check_eta(eta: float) -> None:
    if not 0 <= eta <= 1:
        raise ValueError(f"eta lies in [0, 1], not {eta}")


def _slope(denoise: Denoise, schedule: Schedule, y: Array, t: Array) -> Array:
    """dy/dr at time t."""
    x = schedule.alpha(t) * y
    return noise_of(schedule, x, denoise(x, t).x0, t)


@dataclass(frozen=True)
class Euler:
    """y_s = y_t + (r_s - r_t) dy/dr: order 1. It is DDIM with eta = 0, written as an ODE solver."""

    def init(self, x: Array):
        return ()

    def step(self, denoise, schedule, x, t, s, key, memory):
        y = x / schedule.alpha(t)
        slope = _slope(denoise, schedule, y, t)
        return schedule.alpha(s) * (y + (_ratio(schedule, s) - _ratio(schedule, t)) * slope), memory


@dataclass(frozen=True)
class EulerAncestral:
    """Euler down to r_d, then noise up to r_s: r_u = eta r_s sqrt(1 - (r_s / r_t)^2).

    r_d^2 = r_s^2 - r_u^2. With eta = 1 it is ancestral sampling with the small variance.
    k-diffusion (Crowson 2022).
    """

    eta: float = 1.0

    def __post_init__(self):
        _check_eta(self.eta)

    def init(self, x: Array):
        return ()

    def step(self, denoise, schedule, x, t, s, key, memory):
        r_t, r_s = _ratio(schedule, t), _ratio(schedule, s)
        up = self.eta * r_s * jnp.sqrt(1 - (r_s / r_t) ** 2)
        down = jnp.sqrt(r_s**2 - up**2)
        y = x / schedule.alpha(t)
        y = y + (down - r_t) * _slope(denoise, schedule, y, t) + up * normal_like(key, x)
        return schedule.alpha(s) * y, memory


@dataclass(frozen=True)
class Heun:
    """The trapezoidal rule in r, order 2, two evaluations a step; n times cost 2 n - 1.

    `churn` is S_churn / N: where low <= r <= high, noise first lifts r to (1 + gamma) r with
    gamma = min(churn, sqrt(2) - 1), as far as the schedule reaches; `noise` is S_noise.
    Karras et al. 2022, arXiv:2206.00364, algorithm 2.
    """

    churn: float = 0.0
    low: float = 0.0
    high: float = 1e6
    noise: float = 1.0

    def __post_init__(self):
        if self.churn < 0 or self.noise < 0:
            raise ValueError("needs churn >= 0 and noise >= 0")

    def init(self, x: Array):
        return ()

    def step(self, denoise, schedule, x, t, s, key, memory):
        y, r_t, r_s = x / schedule.alpha(t), _ratio(schedule, t), _ratio(schedule, s)
        if self.churn > 0:
            gamma = min(self.churn, math.sqrt(2) - 1)
            acts = (self.low <= r_t) & (r_t <= self.high)
            highest = _ratio(schedule, jnp.ones(()))
            lifted = jnp.where(acts, jnp.minimum((1 + gamma) * r_t, highest), r_t)
            spread = self.noise * jnp.sqrt(jnp.maximum(lifted**2 - r_t**2, 0.0))
            y = y + spread * normal_like(key, x)
            t, r_t = schedule.time(-2 * jnp.log(lifted)), lifted
        slope = _slope(denoise, schedule, y, t)
        ahead = y + (r_s - r_t) * slope
        slope = 0.5 * (slope + _slope(denoise, schedule, ahead, s))
        return schedule.alpha(s) * (y + (r_s - r_t) * slope), memory


@dataclass(frozen=True)
class Midpoint:
    """The slope at the geometric middle of r_t and r_s: order 2, two evaluations a step.

    In log-SNR this is the midpoint; DPM-Solver-2 of Lu et al. 2022, arXiv:2206.00927, in its
    data-prediction form takes the same point.
    """

    def init(self, x: Array):
        return ()

    def step(self, denoise, schedule, x, t, s, key, memory):
        y, r_t, r_s = x / schedule.alpha(t), _ratio(schedule, t), _ratio(schedule, s)
        middle = schedule.time(0.5 * (schedule.logsnr(t) + schedule.logsnr(s)))
        half = y + (_ratio(schedule, middle) - r_t) * _slope(denoise, schedule, y, t)
        return schedule.alpha(s) * (
            y + (r_s - r_t) * _slope(denoise, schedule, half, middle)
        ), memory


@dataclass(frozen=True)
class AdamsBashforth:
    """Linear multistep of order 2 in r, one evaluation a step; the first step is Euler's.

    y_s = y_t + h ((1 + w) d_t - w d_prev), h = r_s - r_t, w = h / (2 h_prev): "LMS" of order 2 in
    k-diffusion (Crowson 2022).
    """

    def init(self, x: Array):
        return jnp.zeros_like(x), jnp.zeros(())  # slope and step before; no step before

    def step(self, denoise, schedule, x, t, s, key, memory):
        before, h_before = memory
        y, h = x / schedule.alpha(t), _ratio(schedule, s) - _ratio(schedule, t)
        slope = _slope(denoise, schedule, y, t)
        first = h_before == 0
        w = jnp.where(first, 0.0, h / (2 * jnp.where(first, 1.0, h_before)))
        y = y + h * ((1 + w) * slope - w * before)
        return schedule.alpha(s) * y, (slope, h)


@dataclass(frozen=True)
class DPMpp2M:
    """DPM-Solver++(2M) and its SDE variant: exponential multistep on x0_hat, one evaluation a step.

    x_s = (sigma_s / sigma_t) e^(-eta h) x + alpha_s (1 - e^-k) (D_t + w (D_t - D_prev))
          + sigma_s sqrt(1 - e^(-2 eta h)) z,  k = (1 + eta) h, w = h / (2 h_prev),
    h the step in half log-SNR; the first step has w = 0. eta = 0 is the ODE, order 2; eta = 1 the
    reverse SDE, whose first step is ancestral sampling. Lu et al. 2022, arXiv:2211.01095,
    algorithm 2; the SDE in its appendix.
    """

    eta: float = 0.0

    def __post_init__(self):
        _check_eta(self.eta)

    def init(self, x: Array):
        return jnp.zeros_like(x), jnp.zeros(())  # x0_hat and step before; no step before

    def step(self, denoise, schedule, x, t, s, key, memory):
        before, h_before = memory
        x0, h = denoise(x, t).x0, _half_step(schedule, t, s)
        w = _over(h, 2 * h_before)
        x = _exponential_step(schedule, x, t, s, h, self.eta, x0 + w * (x0 - before), key)
        return x, (x0, h)


@dataclass(frozen=True)
class DPMpp3M:
    """DPM-Solver++(3M) and its SDE variant: as 2M, with a parabola through three estimates.

    To (1 - e^-k) D_t are added phi2 h D' - phi3 h^2 D'' with the parabola's derivatives at t,
    phi2 = 1 - (1 - e^-k) / k, phi3 = phi2 / k - 1/2, k = (1 + eta) h. Order 3 for eta = 0; the
    first step has order 1, the second order 2. Lu et al. 2022, arXiv:2211.01095. The authors' code
    and those that follow it take half of D'', which leaves order 2.
    """

    eta: float = 0.0

    def __post_init__(self):
        _check_eta(self.eta)

    def init(self, x: Array):
        nothing = jnp.zeros_like(x), jnp.zeros(())
        return nothing, nothing  # x0_hat and step, before and before that

    def step(self, denoise, schedule, x, t, s, key, memory):
        (x1, h1), (x2, h2) = memory
        x0, h = denoise(x, t).x0, _half_step(schedule, t, s)
        r1, r2 = h1 / h, h2 / h
        near, far = _over(x0 - x1, r1), _over(x1 - x2, r2)
        bend = jnp.where(h2 == 0, 0.0, _over(near - far, r1 + r2))  # h^2 D'' / 2
        k = (1 + self.eta) * h
        gain = -jnp.expm1(-k)
        phi2 = 1 - gain / k
        phi3 = phi2 / k - 0.5
        mean = x0 + (phi2 * (near + r1 * bend) - phi3 * 2 * bend) / gain
        x = _exponential_step(schedule, x, t, s, h, self.eta, mean, key)
        return x, ((x0, h), (x1, h1))


def _half_step(schedule: Schedule, t: Array, s: Array) -> Array:
    """h, the step in half log-SNR."""
    return 0.5 * (schedule.logsnr(s) - schedule.logsnr(t))


def _over(a: Array, b: Array) -> Array:
    """a / b, and 0 where b = 0: before there is a history."""
    return jnp.where(b == 0, 0.0, a / jnp.where(b == 0, 1.0, b))


def _exponential_step(schedule, x, t, s, h, eta: float, mean: Array, key: Array) -> Array:
    """The linear part exactly, `mean` in place of x_0 throughout the step, and the noise."""
    decay = schedule.sigma(s) / schedule.sigma(t) * jnp.exp(-eta * h)
    x = decay * x - schedule.alpha(s) * jnp.expm1(-(1 + eta) * h) * mean
    if eta == 0:
        return x
    return x + schedule.sigma(s) * jnp.sqrt(-jnp.expm1(-2 * eta * h)) * normal_like(key, x)


@dataclass(frozen=True)
class EulerMaruyama:
    """The reverse SDE dx = (f x - g^2 score) dt + g dw, one Euler step in t.

    Song et al. 2021, arXiv:2011.13456, eq. 6.
    """

    def init(self, x: Array):
        return ()

    def step(self, denoise, schedule, x, t, s, key, memory):
        # A discrete schedule has its slopes between the levels, so they are taken in the middle.
        f, g2 = (expand(a, x) for a in sde(schedule, 0.5 * (t + s)))
        score = -noise_of(schedule, x, denoise(x, t).x0, t) / expand(schedule.sigma(t), x)
        x = x + (f * x - g2 * score) * (s - t)
        return x + jnp.sqrt(g2 * (t - s)) * normal_like(key, x), memory


SOLVERS = {
    "euler": Euler,
    "euler_ancestral": EulerAncestral,
    "heun": Heun,
    "midpoint": Midpoint,
    "adams_bashforth": AdamsBashforth,
    "dpmpp_2m": DPMpp2M,
    "dpmpp_3m": DPMpp3M,
    "euler_maruyama": EulerMaruyama,
}
