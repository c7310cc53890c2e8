"""What samplers share: their contract, and the exact linear part of a step.

With l = log(alpha / sigma), half the log-SNR, and y = x / alpha, r = sigma / alpha = e^-l, every
schedule has the same probability-flow ODE: dy/dr = eps_hat, or dy/dl = x0_hat - y. Karras et al.
2022, arXiv:2206.00364, eq. 4; Lu et al. 2022, arXiv:2211.01095, eq. 8. Steps are written in x and
x0_hat with coefficients from h = l_s - l_t, because y loses its digits where alpha is small.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import expand, normal_like
from ddm_jax.diffusion.process import Denoise
from ddm_jax.diffusion.schedules.base import Schedule

Memory = Any  # a pytree that the sampler carries from step to step


class Sampler(ABC):
    """One step from x at time t to the next time s < t, and what can be said of it.

    convergence: the published order of convergence of a deterministic sampler, infinite where it
    solves to a tolerance on any grid; None where it draws noise. evaluations: of the denoiser in
    one step, None where they vary. estimate: what the denoiser must give, "mean" for E[x_0 | x_t]
    or "end" for the end of x_t's path along the probability flow. asks_variance: whether the
    denoiser must give a learned variance too.
    """

    estimate: ClassVar[str] = "mean"

    @property
    def convergence(self) -> float | None:
        return None

    @property
    def evaluations(self) -> int | None:
        return 1

    @property
    def asks_variance(self) -> bool:
        return False

    def init(self, x: Array) -> Memory:
        """What is remembered before the first step."""
        return ()

    @abstractmethod
    def step(
        self,
        denoise: Denoise,
        schedule: Schedule,
        x: Array,
        t: Array,
        s: Array,
        key: Array,
        memory: Memory,
    ) -> tuple[Array, Memory]:
        """x (B, ...) at s <= t; t, s and key are () or one for each example, (B,).

        A step of no length, s = t, leaves x finite.
        """


def check_eta(eta: float) -> None:
    """ValueError unless eta lies in [0, 1]."""
    if not 0 <= eta <= 1:
        raise ValueError(f"eta lies in [0, 1], not {eta}")


def check_among(what: str, value: Any, allowed: Sequence) -> None:
    """ValueError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{what} is one of {', '.join(map(str, allowed))}, not {value!r}")


def half_step(schedule: Schedule, t: Array, s: Array, x: Array) -> Array:
    """h = l_s - l_t, the step in half log-SNR, shaped to multiply x (B, ...); t, s: () or (B,)."""
    return expand(0.5 * (schedule.logsnr(s) - schedule.logsnr(t)), x)


def exponential_step(
    schedule: Schedule,
    x: Array,
    x0: Array,
    t: Array,
    s: Array,
    eta: float = 0.0,
    key: Array | None = None,
) -> Array:
    """(sigma_s / sigma_t) e^(-eta h) x + alpha_s (1 - e^-(1 + eta) h) x0 + spread z.

    The ODE (eta = 0) or the SDE solved exactly for an x_0 that does not change from t to s;
    spread = sigma_s sqrt(1 - e^(-2 eta h)). Lu et al. 2022, arXiv:2211.01095, eq. 9 and 18.
    """
    h, alpha_s, sigma_s = half_step(schedule, t, s, x), schedule.alpha(s), schedule.sigma(s)
    decay = expand(sigma_s / schedule.sigma(t), x) * jnp.exp(-eta * h)
    mean = decay * x - expand(alpha_s, x) * jnp.expm1(-(1 + eta) * h) * x0
    if eta == 0:
        return mean
    if key is None:
        raise ValueError(f"eta={eta} draws noise, which needs a key")
    spread = expand(sigma_s, x) * jnp.sqrt(-jnp.expm1(-2 * eta * h))
    return mean + spread * normal_like(key, x)


def turn(schedule: Schedule, more: Array, t: Array, s: Array) -> Array:
    """alpha_s (r_s - r_t) more: what x_s gains where the mean dy/dr exceeds that at t by `more`."""
    h = half_step(schedule, t, s, more)
    return -expand(schedule.sigma(s), more) * jnp.expm1(h) * more
