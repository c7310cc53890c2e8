"""The variational bound on -log p(x_0), term by term and whole.

-log P(x_0) <= KL(q(x_1 | x_0) || p(x_1)) + sum KL(q(x_s | x_t, x_0) || p(x_s | x_t))
               - E log P(x_0 | x_last),
one KL for each pair of neighbouring times t > s of a grid. Terms are in nats, for each element of
x_0; the whole is in bits per element. Ho et al. 2020, arXiv:2006.11239, eq. 5.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import log_ndtr
from jax.typing import ArrayLike
from jaxtyping import Float

from ddm_jax.diffusion.arrays import Keys, Number, PerExample, T, X, expand, fold_in, normal_like
from ddm_jax.diffusion.process import (
    Denoise,
    Estimate,
    diffuse,
    mix_of,
    posterior,
    reverse_kernel,
)
from ddm_jax.diffusion.schedules.base import Rates


def prior_term(schedule: Rates, x0: X) -> X:
    """KL(q(x_1 | x_0) || N(0, alpha(1)^2 + sigma(1)^2)), the start of `samplers.prior`; x0's shape.

    (x_0^2 SNR / (1 + SNR) - 1 + 1 / (1 + SNR) + log(1 + SNR)) / 2 at t = 1: for variance-preserving
    schedules the KL to N(0, 1).
    """
    logsnr = schedule.logsnr(jnp.ones(()))
    log_ratio = -jax.nn.softplus(logsnr)  # of the variances
    return 0.5 * (jax.nn.sigmoid(logsnr) * x0**2 + jnp.expm1(log_ratio) - log_ratio)


def kl_term(schedule: Rates, estimate: Estimate, x0: X, x_t: X, *, t: T, s: T, variance: str) -> X:
    """KL(q(x_s | x_t, x_0) || p(x_s | x_t)) in nats, of x0's shape.

    (log v' - log v + v / v' - 1 + (mean - mean')^2 / v') / 2 with p's variance v' from
    `process.reverse_kernel`; the means differ by alpha_s (1 - SNR_t / SNR_s) (x_0 - x0_hat).
    `estimate` is the denoiser's at (x_t, t); t > s are () or (B,). To train the variance alone,
    stop the gradient of estimate.x0. Nichol & Dhariwal 2021, arXiv:2102.09672, section 3.1.
    """
    q = posterior(schedule, t, s)
    _, log_variance = reverse_kernel(schedule, estimate, x_t, t=t, s=s, variance=variance)
    log_ratio = expand(jnp.log(q.variance), x0) - log_variance
    away = expand(q.of_x0, x0) * (x0 - estimate.x0)
    return 0.5 * (jnp.expm1(log_ratio) - log_ratio + away**2 * jnp.exp(-log_variance))


DECODERS = ("x0", "published")


def decoder_term(
    schedule: Rates,
    estimate: Estimate,
    x0: X,
    t: T,
    *,
    before: T,
    variance: str,
    low: ArrayLike,
    high: ArrayLike,
    levels: int = 256,
    decoder: str = "x0",
) -> X:
    """-log P(x_0 | x_t) at the last time t, in nats, of x0's shape.

    P is N(x0_hat, v) summed over the bins of `levels` equally spaced values from low to high, the
    outer two open to infinity; v is that of `decoder_log_variance`. x_0 must hold such values; low,
    high: () or for the last axis; before > t are () or (B,). Ho et al. 2020, arXiv:2006.11239,
    eq. 13. Their code takes Phi for a function of tanh, up to 2e-4 away, and no P below 1e-12; here
    it is Phi itself.
    """
    log_variance = decoder_log_variance(
        schedule, estimate, x0, t, before=before, variance=variance, decoder=decoder
    )
    return -log_bin(x0, estimate.x0, log_variance, low=low, high=high, levels=levels)


def decoder_log_variance(
    schedule: Rates,
    estimate: Estimate,
    x0: Array,
    t: Array,
    *,
    before: Array,
    variance: str,
    decoder: str,
) -> Array:
    """log v of the decoder, shaped to be added to x0; `decoder` is one of DECODERS.

    x0: v = (sigma_t / alpha_t)^2, the variance of x_0 given x_t where the data are broad.
    published: v is the posterior's of the pair (before, t), sigma_t^2 (1 - SNR_before / SNR_t),
    whether the fixed `variance` is "small" or "large". In betas, with levels counted from 0,
    beta_1 (1 - abar_0) / (1 - abar_1), where x0 has beta_0 / (1 - beta_0): nearly half of that on
    the linear and cosine schedules of 1,000 levels. The code of Ho et al. 2020, arXiv:2006.11239,
    does so for a better likelihood.

    A "learned" one lies between the posterior's (mix 0) and a large one (mix 1), in the logarithm,
    for either decoder. The large one is x0's v or, as published, sigma_t^2, which is beta_0: they
    differ by alpha_t^2 alone. Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 15.
    """
    small = jnp.log(posterior(schedule, before, t).variance)
    large = {"x0": -schedule.logsnr(t), "published": 2 * jnp.log(schedule.sigma(t))}[decoder]
    if variance == "learned":
        return expand(small, x0) + mix_of(estimate) * expand(large - small, x0)
    return expand({"x0": large, "published": small}[decoder], x0)


def log_bin(
    x0: Array,
    mean: Array,
    log_variance: Array,
    *,
    low: ArrayLike,
    high: ArrayLike,
    levels: int = 256,
) -> Array:
    """The logarithm of the share of N(mean, variance) in the bin of x0, right far into the tails.

    The density is mirrored so that both edges of the bin are in or near its left tail, where
    log(Phi(b) - Phi(a)) = log Phi(b) + log(1 - exp(log Phi(a) - log Phi(b))) loses no digits.
    """
    width = (jnp.asarray(high) - low) / (levels - 1)
    scale = jnp.exp(-0.5 * log_variance)
    away, half = (x0 - mean) * scale, 0.5 * width * scale
    lowest, highest = x0 < low + 0.5 * width, x0 > high - 0.5 * width
    open_end = log_ndtr(jnp.where(lowest, half + away, half - away))
    upper, lower = log_ndtr(half - abs(away)), log_ndtr(-half - abs(away))
    return jnp.where(lowest | highest, open_end, upper + jnp.log(-jnp.expm1(lower - upper)))


class Bound(NamedTuple):
    """The bound in bits per element and its parts, which sum to it; of n times.

    total, prior, decoder: (B,); kl: (n - 1, B), one for each pair of times; x0_mse: (n, B), the
    mean of (x0_hat - x_0)^2 at each time.
    """

    total: Array
    prior: Array
    decoder: Array
    kl: Array
    x0_mse: Array


def bits(nats: X) -> PerExample:
    """(B, ...) in nats -> (B,) in bits per element."""
    return nats.reshape(nats.shape[0], -1).mean(1) / jnp.log(2.0)


def vlb(
    denoise: Denoise,
    schedule: Rates,
    times: Float[Number, "n"],
    x0: X,
    *,
    key: Keys,
    variance: str,
    low: ArrayLike,
    high: ArrayLike,
    levels: int = 256,
    decoder: str = "x0",
) -> Bound:
    """The bound for x0 (B, ...) on a grid of n >= 2 times from 1 downwards, one noise draw a term.

    `variance` is that of the sampler which the bound is for, one of `VARIANCES`; with the grid
    of all T levels and `decoder` "published" the bound is the published one. key: () or one an
    example (B,), folded with the index of the time. One `lax.map` over the times, n calls of the
    denoiser.
    """
    times = jnp.asarray(times)

    def noised(t: Array, k: Array | int) -> tuple[Array, Estimate, Array]:
        x_t = diffuse(schedule, x0, normal_like(fold_in(key, k), x0), t)
        estimate = denoise(x_t, t)
        return x_t, estimate, ((estimate.x0 - x0) ** 2).reshape(len(x0), -1).mean(1)

    def pair(at: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        t, s, k = at
        x_t, estimate, mse = noised(t, k)
        return bits(kl_term(schedule, estimate, x0, x_t, t=t, s=s, variance=variance)), mse

    last = len(times) - 1
    kl, mse = jax.lax.map(pair, (times[:-1], times[1:], jnp.arange(last)))
    _, estimate, last_mse = noised(times[last], last)
    how = {"variance": variance, "decoder": decoder, "low": low, "high": high, "levels": levels}
    before = times[last - 1]
    last_bits = bits(decoder_term(schedule, estimate, x0, times[last], before=before, **how))
    prior = bits(prior_term(schedule, x0))
    total = prior + kl.sum(0) + last_bits
    return Bound(total, prior, last_bits, kl, jnp.concatenate([mse, last_mse[None]]))
