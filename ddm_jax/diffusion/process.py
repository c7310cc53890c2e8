"""The forward process x_t = alpha x_0 + sigma eps, its kernels, and estimates of x_0."""

from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import OfTimes, T, Times, X, expand, real
from ddm_jax.diffusion.schedules.base import Rates, Schedule, signal_rate


class Estimate(NamedTuple):
    """What a denoiser says of x_0: its mean, and where a learned variance lies if there is one.

    variance_mix, of x_0's shape: 0 is the small, 1 the large variance of `reverse_kernel`.
    """

    x0: Array
    variance_mix: Array | None = None


@runtime_checkable
class Denoise(Protocol):
    """A denoiser: at x_t, the x_0 for which one DDIM step from t lands on x_s.

    Most networks know one time and ignore s; without it s is t, where that x_0 is E[x_0 | x_t] and
    the step has no length. Networks of two times (consistency trajectories, mean flows, shortcuts)
    jump from t to s at once.
    """

    def __call__(self, x_t: Array, t: Array, s: Array | None = None) -> Estimate:
        """x_t: (B, ...); t and s <= t: () or (B,)."""
        ...


def diffuse(schedule: Rates, x0: X, eps: X, t: T) -> X:
    """x_t = alpha(t) x_0 + sigma(t) eps, a draw of q(x_t | x_0) where eps ~ N(0, I).

    x0, eps: (B, ...); t: () or (B,). Ho et al. 2020, arXiv:2006.11239, eq. 4.
    """
    return expand(schedule.alpha(t), x0) * x0 + expand(schedule.sigma(t), x0) * eps


def noise_of(schedule: Rates, x_t: X, x0: X, t: T) -> X:
    """eps = (x_t - alpha(t) x_0) / sigma(t): the noise that leads from x0 to x_t.

    Deriving it from an x_0 that has been clipped keeps x_0 and eps consistent.
    """
    return (x_t - expand(schedule.alpha(t), x_t) * x0) / expand(schedule.sigma(t), x_t)


def score_of(schedule: Rates, x_t: X, x0: X, t: T) -> X:
    """-eps / sigma(t) = (alpha(t) x_0 - x_t) / sigma(t)^2: with E[x_0 | x_t] the score of p_t."""
    return -noise_of(schedule, x_t, x0, t) / expand(schedule.sigma(t), x_t)


def marginal_scale(schedule: Rates, t: Times) -> OfTimes:
    """sqrt(alpha(t)^2 + sigma(t)^2): the deviation of x_t for unit data.

    1 for variance-preserving schedules.
    """
    return jnp.sqrt(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2)


def snr_gap(schedule: Rates, t: Times, s: Times) -> OfTimes:
    """1 - SNR_t / SNR_s for s < t, taken in log-SNR, where it loses no digits."""
    return -jnp.expm1(schedule.logsnr(t) - schedule.logsnr(s))


class Kernel(NamedTuple):
    """A Gaussian N(of_x x + of_x0 x_0, variance I)."""

    of_x: Array
    of_x0: Array
    variance: Array


def forward_kernel(schedule: Rates, s: Times, t: Times) -> Kernel:
    """q(x_t | x_s) for s < t: mean (alpha_t / alpha_s) x_s, variance sigma_t^2 (1 - SNR_t / SNR_s).

    For a variance-preserving schedule and neighbouring steps the variance is beta_t. Kingma et al.
    2021, arXiv:2107.00630.
    """
    ratio = schedule.alpha(t) / schedule.alpha(s)
    variance = schedule.sigma(t) ** 2 * snr_gap(schedule, t, s)
    return Kernel(ratio, jnp.zeros_like(ratio), variance)


def posterior(schedule: Rates, t: Times, s: Times) -> Kernel:
    """q(x_s | x_t, x_0) for s < t, the reverse step that the truth would take.

    mean = (alpha_t / alpha_s) (sigma_s / sigma_t)^2 x_t + alpha_s (1 - SNR_t / SNR_s) x_0,
    variance = sigma_s^2 (1 - SNR_t / SNR_s).
    Ho et al. 2020, arXiv:2006.11239, eq. 7; for any s < t Kingma et al. 2021, arXiv:2107.00630.
    """
    gap = snr_gap(schedule, t, s)
    alpha_s, sigma_s = schedule.alpha(s), schedule.sigma(s)
    of_x = schedule.alpha(t) / alpha_s * (sigma_s / schedule.sigma(t)) ** 2
    return Kernel(of_x, alpha_s * gap, sigma_s**2 * gap)


VARIANCES = ("small", "large", "learned")


def reverse_kernel(
    schedule: Rates, estimate: Estimate, x: X, *, t: T, s: T, variance: str
) -> tuple[X, Array]:
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
    mix = mix_of(estimate) if variance == "learned" else {"small": 0.0, "large": 1.0}[variance]
    return mean, small + mix * excess


def mix_of(estimate: Estimate) -> Array:
    """The estimate's variance_mix, which must be there."""
    if estimate.variance_mix is None:
        raise ValueError("a learned variance needs a network that predicts it")
    return estimate.variance_mix


def probability_flow(denoise: Denoise, schedule: Schedule, z: X, half: T) -> X:
    """dz/dl = a (x0_hat - a z), the ODE of every schedule, with a = sqrt(sigmoid(2 l)).

    z = x_t / sqrt(alpha^2 + sigma^2) and half log-SNR l = log(alpha / sigma): z keeps the data's
    scale at all times, and each octave of noise has the same length. z: (B, ...); half: () or (B,).
    """
    t = jnp.clip(schedule.time(2 * half), 0.0, 1.0)
    x0 = denoise(expand(marginal_scale(schedule, t), z) * z, t).x0
    a = expand(signal_rate(2 * half), z)
    return a * (x0 - a * z)


def sde(schedule: Rates, t: Times) -> tuple[OfTimes, OfTimes]:
    """(f, g^2) of the forward process dx = f(t) x dt + g(t) dw that has the schedule's marginals.

    f = d log(alpha) / dt and g^2 = -sigma^2 d logsnr / dt, by automatic differentiation; t: () or
    (B,). Kingma et al. 2021, arXiv:2107.00630; Song et al. 2021, arXiv:2011.13456.
    """
    t = real(t)
    one = jnp.ones_like(t)
    alpha, slope = jax.jvp(schedule.alpha, (t,), (one,))
    _, decline = jax.jvp(schedule.logsnr, (t,), (one,))
    return slope / alpha, -(schedule.sigma(t) ** 2) * decline
