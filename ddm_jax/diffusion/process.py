"""The forward process x_t = alpha x_0 + sigma eps, its kernels, and estimates of x_0."""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import expand, real
from ddm_jax.diffusion.schedules.base import Rates


class Estimate(NamedTuple):
    """What a denoiser says of x_0: its mean, and where a learned variance lies if there is one.

    variance_mix, of x_0's shape: 0 is the small, 1 the large variance of `reverse_kernel`.
    """

    x0: Array
    variance_mix: Array | None = None


class Denoise(Protocol):
    """A denoiser: at x_t, the x_0 for which one DDIM step from t lands on x_s.

    Most networks know one time and ignore s; without it s is t, where that x_0 is E[x_0 | x_t] and
    the step has no length. Networks of two times (consistency trajectories, mean flows, shortcuts)
    jump from t to s at once.
    """

    def __call__(self, x_t: Array, t: Array, s: Array | None = None) -> Estimate:
        """x_t: (B, ...); t and s <= t: () or (B,)."""
        ...


def diffuse(schedule: Rates, x0: Array, eps: Array, t: Array) -> Array:
    """x_t = alpha(t) x_0 + sigma(t) eps, a draw of q(x_t | x_0) where eps ~ N(0, I).

    x0, eps: (B, ...); t: () or (B,). Ho et al. 2020, arXiv:2006.11239, eq. 4.
    """
    return expand(schedule.alpha(t), x0) * x0 + expand(schedule.sigma(t), x0) * eps


def noise_of(schedule: Rates, x_t: Array, x0: Array, t: Array) -> Array:
    """eps = (x_t - alpha(t) x_0) / sigma(t): the noise that leads from x0 to x_t.

    Deriving it from an x_0 that has been clipped keeps x_0 and eps consistent.
    """
    return (x_t - expand(schedule.alpha(t), x_t) * x0) / expand(schedule.sigma(t), x_t)


class Kernel(NamedTuple):
    """A Gaussian N(of_x x + of_x0 x_0, variance I)."""

    of_x: Array
    of_x0: Array
    variance: Array


def forward_kernel(schedule: Rates, s: Array, t: Array) -> Kernel:
    """q(x_t | x_s) for s < t: mean (alpha_t / alpha_s) x_s, variance sigma_t^2 (1 - SNR_t / SNR_s).

    For a variance-preserving schedule and neighbouring steps the variance is beta_t. The ratio of
    signal-to-noise ratios is taken in log-SNR, where it loses no digits. Kingma et al. 2021,
    arXiv:2107.00630.
    """
    gap = -jnp.expm1(schedule.logsnr(t) - schedule.logsnr(s))
    ratio = schedule.alpha(t) / schedule.alpha(s)
    return Kernel(ratio, jnp.zeros_like(ratio), schedule.sigma(t) ** 2 * gap)


def posterior(schedule: Rates, t: Array, s: Array) -> Kernel:
    """q(x_s | x_t, x_0) for s < t, the reverse step that the truth would take.

    mean = (alpha_t / alpha_s) (sigma_s / sigma_t)^2 x_t + alpha_s (1 - SNR_t / SNR_s) x_0,
    variance = sigma_s^2 (1 - SNR_t / SNR_s).
    Ho et al. 2020, arXiv:2006.11239, eq. 7; for any s < t Kingma et al. 2021, arXiv:2107.00630.
    """
    gap = -jnp.expm1(schedule.logsnr(t) - schedule.logsnr(s))
    alpha_s, sigma_s = schedule.alpha(s), schedule.sigma(s)
    of_x = schedule.alpha(t) / alpha_s * (sigma_s / schedule.sigma(t)) ** 2
    return Kernel(of_x, alpha_s * gap, sigma_s**2 * gap)


VARIANCES = ("small", "large", "learned")


def reverse_kernel(
    schedule: Rates, estimate: Estimate, x: Array, t: Array, s: Array, variance: str
) -> tuple[Array, Array]:
    """(mean, log variance) of the Gaussian p(x_s | x_t) that a model takes for the truth.

    The mean is the posterior's at x0_hat. `variance` is "small" (the posterior's,
    sigma_s^2 (1 - SNR_t / SNR_s)), "large" (that of q(x_t | x_s), sigma_t^2 (1 - SNR_t / SNR_s)),
    or "learned", between them in the logarithm: log v = m log large + (1 - m) log small with the
    estimate's variance_mix m. Ho et al. 2020, arXiv:2006.11239, section 3.2; Nichol & Dhariwal
    2021, arXiv:2102.09672, eq. 15. x: (B, ...); t, s: () or (B,).
    """
    q = posterior(schedule, t, s)
    mean = expand(q.of_x, x) * x + expand(q.of_x0, x) * estimate.x0
    small = expand(jnp.log(q.variance), x)
    excess = expand(2 * jnp.log(schedule.sigma(t) / schedule.sigma(s)), x)
    if variance == "learned":
        if estimate.variance_mix is None:
            raise ValueError("a learned variance needs a network that predicts it")
        return mean, small + estimate.variance_mix * excess
    return mean, small + {"small": 0.0, "large": 1.0}[variance] * excess


def sde(schedule: Rates, t: Array) -> tuple[Array, Array]:
    """(f, g^2) of the forward process dx = f(t) x dt + g(t) dw that has the schedule's marginals.

    f = d log(alpha) / dt and g^2 = -sigma^2 d logsnr / dt, by automatic differentiation; t: () or
    (B,). Kingma et al. 2021, arXiv:2107.00630; Song et al. 2021, arXiv:2011.13456.
    """
    t = real(t)
    one = jnp.ones_like(t)
    alpha, slope = jax.jvp(schedule.alpha, (t,), (one,))
    _, decline = jax.jvp(schedule.logsnr, (t,), (one,))
    return slope / alpha, -(schedule.sigma(t) ** 2) * decline
