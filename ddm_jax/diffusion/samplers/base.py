"""What samplers share: their contract, and the exact linear part of a step.

With lambda = log(alpha / sigma), half the log-SNR, and y = x / alpha, r = sigma / alpha =
e^-lambda, every schedule has the same probability-flow ODE: dy/dr = eps_hat, or
dy/dlambda = x0_hat - y. Karras et al. 2022, arXiv:2206.00364, eq. 4; Lu et al. 2022,
arXiv:2211.01095, eq. 8. Steps are written in x and x0_hat with coefficients from
h = lambda_s - lambda_t, because y loses its digits where alpha is small.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import Keys, T, X, expand
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

    @property
    def estimate(self) -> str:
        return "mean"

    @property
    def convergence(self) -> float | None:
        return None

    @property
    def evaluations(self) -> int | None:
        return 1

    @property
    def asks_variance(self) -> bool:
        return False

    def init(self, x: X) -> Memory:
        """What is remembered before the first step."""
        return ()

    @abstractmethod
    def step(
        self,
        denoise: Denoise,
        schedule: Schedule,
        x_t: X,
        *,
        t: T,
        s: T,
        key: Keys,
        memory: Memory,
    ) -> tuple[X, Memory]:
        """x_s (B, ...) from x_t, s <= t; t, s and key are () or one for each example, (B,).

        A step of no length, s = t, leaves it finite.
        """


@dataclass(frozen=True)
class WithEta(Sampler):
    """A sampler with a share `eta` in [0, 1] of fresh noise: 0 is the ODE, 1 the reverse SDE.

    order: its published order of convergence for eta = 0.
    """

    order: ClassVar[int] = 1

    eta: float = 0.0

    def __post_init__(self):
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta lies in [0, 1], not {self.eta}")

    @property
    def convergence(self) -> int | None:
        return None if self.eta else self.order


def check_among(what: str, value: Any, allowed: Sequence) -> None:
    """ValueError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{what} is one of {', '.join(map(str, allowed))}, not {value!r}")


def rates(schedule: Schedule, t: T, x: X) -> tuple[Array, Array, Array]:
    """(alpha, sigma, lambda) at t, lambda = log(alpha / sigma), shaped to multiply x (B, ...)."""
    half = 0.5 * schedule.logsnr(t)
    return expand(schedule.alpha(t), x), expand(schedule.sigma(t), x), expand(half, x)


def exponential_step(schedule: Schedule, x_t: X, x0: X, *, t: T, s: T) -> X:
    """x_s = (sigma_s / sigma_t) x_t + alpha_s (1 - e^-h) x0: DDIM's step from t to s.

    The ODE solved exactly for an x_0 that does not change. Lu et al. 2022, arXiv:2211.01095, eq. 9.
    """
    alpha_s, sigma_s, lambda_s = rates(schedule, s, x_t)
    _, sigma_t, lambda_t = rates(schedule, t, x_t)
    return sigma_s / sigma_t * x_t - alpha_s * jnp.expm1(lambda_t - lambda_s) * x0
