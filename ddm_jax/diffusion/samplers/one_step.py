"""Samplers that remember nothing: ancestral sampling, DDIM, and one-step solvers of ODE and SDE."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import Keys, T, X, expand, normal_like
from ddm_jax.diffusion.process import (
    VARIANCES,
    Denoise,
    noise_of,
    reverse_kernel,
    score_of,
    sde,
    snr_gap,
)
from ddm_jax.diffusion.samplers.base import (
    Memory,
    Sampler,
    WithEta,
    check_among,
    exponential_step,
    rates,
)
from ddm_jax.diffusion.schedules.base import Schedule


@dataclass(frozen=True)
class DDPM(Sampler):
    """Ancestral sampling: x_s ~ N(posterior mean at x0_hat, variance), as `reverse_kernel` says.

    `variance` is "small", "large" or "learned". Ho et al. 2020, arXiv:2006.11239, section 3.2 and
    algorithm 2; Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 15.
    """

    variance: str = "small"

    def __post_init__(self):
        check_among("variance", self.variance, VARIANCES)

    @property
    def asks_variance(self) -> bool:
        return self.variance == "learned"

    def step(
        self, denoise: Denoise, schedule: Schedule, x_t: X, *, t: T, s: T, key: Keys, memory: Memory
    ) -> tuple[X, Memory]:
        mean, log_variance = reverse_kernel(
            schedule, denoise(x_t, t), x_t, t=t, s=s, variance=self.variance
        )
        return mean + jnp.exp(0.5 * log_variance) * normal_like(key, x_t), memory


@dataclass(frozen=True)
class DDIM(WithEta):
    """x_s = alpha_s x0_hat + sqrt(sigma_s^2 - d^2) eps_hat + d z, d = eta sigma_s sqrt(1 - r).

    r = SNR_t / SNR_s, so d is eta times the posterior's deviation: eta = 0 is deterministic,
    eta = 1 is DDPM with the small variance. Song et al. 2020, arXiv:2010.02502, eq. 12 and 16.
    """

    def step(
        self, denoise: Denoise, schedule: Schedule, x_t: X, *, t: T, s: T, key: Keys, memory: Memory
    ) -> tuple[X, Memory]:
        x0_t = denoise(x_t, t, s).x0
        eps_t = noise_of(schedule, x_t, x0_t, t)
        gap = expand(snr_gap(schedule, t, s), x_t)
        alpha_s, sigma_s = expand(schedule.alpha(s), x_t), expand(schedule.sigma(s), x_t)
        x_s = alpha_s * x0_t + sigma_s * jnp.sqrt(1 - self.eta**2 * gap) * eps_t
        if self.eta:
            x_s = x_s + self.eta * sigma_s * jnp.sqrt(gap) * normal_like(key, x_t)
        return x_s, memory


@dataclass(frozen=True)
class Euler(Sampler):
    """y_s = y_t + (r_s - r_t) dy/dr: order 1. It is DDIM with eta = 0, written as an ODE solver."""

    @property
    def convergence(self) -> int:
        return 1

    def step(
        self, denoise: Denoise, schedule: Schedule, x_t: X, *, t: T, s: T, key: Keys, memory: Memory
    ) -> tuple[X, Memory]:
        return exponential_step(schedule, x_t, denoise(x_t, t, s).x0, t=t, s=s), memory


@dataclass(frozen=True)
class EulerAncestral(WithEta):
    """Euler down to r_d, then noise up to r_s: r_u = eta r_s sqrt(1 - (r_s / r_t)^2).

    r_d^2 = r_s^2 - r_u^2. With eta = 1 it is ancestral sampling with the small variance.
    k-diffusion (Crowson 2022).
    """

    eta: float = 1.0

    def step(
        self, denoise: Denoise, schedule: Schedule, x_t: X, *, t: T, s: T, key: Keys, memory: Memory
    ) -> tuple[X, Memory]:
        alpha_s, sigma_s, lambda_s = rates(schedule, s, x_t)
        _, sigma_t, lambda_t = rates(schedule, t, x_t)
        h = lambda_s - lambda_t
        gap = -jnp.expm1(-2 * h)
        shrink = 0.5 * jnp.log1p(-(self.eta**2) * gap)  # log(r_d / r_s)
        x_s = sigma_s / sigma_t * jnp.exp(shrink) * x_t
        x_s = x_s - alpha_s * jnp.expm1(shrink - h) * denoise(x_t, t).x0
        if self.eta:
            x_s = x_s + self.eta * sigma_s * jnp.sqrt(gap) * normal_like(key, x_t)
        return x_s, memory


@dataclass(frozen=True)
class Heun(Sampler):
    """The trapezoidal rule in r, order 2, two evaluations a step; n times cost 2 n - 1.

    In estimates of x_0 it is Euler's x_s plus alpha_s (e^h - 1) / 2 (x0_hat(x_s, s) - x0_hat).
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

    @property
    def evaluations(self) -> int:
        return 2

    @property
    def convergence(self) -> int | None:
        return None if self.churn else 2

    def step(
        self, denoise: Denoise, schedule: Schedule, x_t: X, *, t: T, s: T, key: Keys, memory: Memory
    ) -> tuple[X, Memory]:
        if self.churn > 0:
            x_t, t = self._lift(schedule, x_t, t, key)
        x0_t = denoise(x_t, t).x0
        x_s = exponential_step(schedule, x_t, x0_t, t=t, s=s)
        (alpha_s, _, lambda_s), (_, _, lambda_t) = (rates(schedule, u, x_t) for u in (s, t))
        gain = 0.5 * alpha_s * jnp.expm1(lambda_s - lambda_t)
        return x_s + gain * (denoise(x_s, s).x0 - x0_t), memory

    def _lift(self, schedule: Schedule, x: X, t: T, key: Keys) -> tuple[X, T]:
        """x with churn's noise added, and the time at which it stands then."""
        gamma, r = min(self.churn, math.sqrt(2) - 1), _ratio(schedule, t)
        highest = _ratio(schedule, jnp.ones(()))
        acts = (self.low <= r) & (r <= self.high)
        lifted = jnp.where(acts, jnp.minimum((1 + gamma) * r, highest), r)
        spread = self.noise * jnp.sqrt(jnp.maximum(lifted**2 - r**2, 0.0))
        later = schedule.time(-2 * jnp.log(lifted))
        kept, added = schedule.alpha(later) / schedule.alpha(t), schedule.alpha(later) * spread
        return expand(kept, x) * x + expand(added, x) * normal_like(key, x), later


@dataclass(frozen=True)
class Midpoint(Sampler):
    """The slope at the geometric middle m of r_t and r_s: order 2, two evaluations a step.

    In estimates of x_0 it is Euler's x_s plus 2 alpha_s sinh(h / 2) (x0_hat(x_m, m) - x0_hat).
    In log-SNR this is the midpoint; DPM-Solver-2 of Lu et al. 2022, arXiv:2206.00927, in its
    data-prediction form takes the same point.
    """

    @property
    def convergence(self) -> int:
        return 2

    @property
    def evaluations(self) -> int:
        return 2

    def step(
        self, denoise: Denoise, schedule: Schedule, x_t: X, *, t: T, s: T, key: Keys, memory: Memory
    ) -> tuple[X, Memory]:
        m = schedule.time(0.5 * (schedule.logsnr(t) + schedule.logsnr(s)))
        x0_t = denoise(x_t, t).x0
        x0_m = denoise(exponential_step(schedule, x_t, x0_t, t=t, s=m), m).x0
        # lambda_m of the time that was found, since a discrete schedule's inverse rounds.
        lambda_t, lambda_m, lambda_s = (rates(schedule, u, x_t)[2] for u in (t, m, s))
        gain = -jnp.expm1(lambda_t - lambda_s) * jnp.exp(lambda_m - lambda_t)
        turned = expand(schedule.alpha(s), x_t) * gain * (x0_m - x0_t)
        return exponential_step(schedule, x_t, x0_t, t=t, s=s) + turned, memory


@dataclass(frozen=True)
class EulerMaruyama(Sampler):
    """The reverse SDE dx = (f x - g^2 score) dt + g dw, one Euler step in t.

    Song et al. 2021, arXiv:2011.13456, eq. 6.
    """

    def step(
        self, denoise: Denoise, schedule: Schedule, x_t: X, *, t: T, s: T, key: Keys, memory: Memory
    ) -> tuple[X, Memory]:
        # A discrete schedule has its slopes between the levels, so they are taken in the middle.
        f, g2 = (expand(a, x_t) for a in sde(schedule, 0.5 * (t + s)))
        score = score_of(schedule, x_t, denoise(x_t, t).x0, t)
        h = expand(t - s, x_t)
        x_s = x_t - (f * x_t - g2 * score) * h
        return x_s + jnp.sqrt(g2 * h) * normal_like(key, x_t), memory


def _ratio(schedule: Schedule, t: Array) -> Array:
    """r(t) = sigma / alpha."""
    return jnp.exp(-0.5 * schedule.logsnr(t))


ONE_STEP = {
    "ddpm": DDPM,
    "ddim": DDIM,
    "euler": Euler,
    "euler_ancestral": EulerAncestral,
    "heun": Heun,
    "midpoint": Midpoint,
    "euler_maruyama": EulerMaruyama,
}
