"""Denoisers known in closed form: the yardstick of every sampler, and a toy to learn with."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import log_ndtr
from jax.scipy.stats import norm
from jaxtyping import Float, Int

from ddm_jax.diffusion.arrays import Number, PerExample, T, X, expand
from ddm_jax.diffusion.guidance import LogProb
from ddm_jax.diffusion.process import Denoise, Estimate
from ddm_jax.diffusion.schedules.base import Rates


def gaussian(schedule: Rates, mean: Number, std: Number) -> Denoise:
    """E[x_0 | x_t] = m + alpha s^2 / (alpha^2 s^2 + sigma^2) (x_t - alpha m), x_0 ~ N(m, s^2).

    mean, std: broadcastable to one example; elements are independent.
    """

    def denoise(x_t: X, t: T, s: T | None = None) -> Estimate:
        alpha, sigma = expand(schedule.alpha(t), x_t), expand(schedule.sigma(t), x_t)
        gain = alpha * std**2 / (alpha**2 * std**2 + sigma**2)
        return Estimate(gain * (x_t - alpha * mean) + mean)

    return denoise


def correlated(
    schedule: Rates, mean: Float[Number, "d"], covariance: Float[Number, "d d"]
) -> Denoise:
    """E[x_0 | x_t] = m + alpha S (alpha^2 S + sigma^2 I)^-1 (x_t - alpha m), x_0 ~ N(m, S).

    Along the eigenvectors of S the elements are independent. mean: (d,) and covariance: (d, d),
    for x_t (B, d).
    """
    variances, axes = jnp.linalg.eigh(jnp.asarray(covariance))
    along = gaussian(schedule, mean @ axes, jnp.sqrt(jnp.maximum(variances, 0.0)))

    def denoise(x_t: X, t: T, s: T | None = None) -> Estimate:
        return Estimate(along(x_t @ axes, t).x0 @ axes.T)

    return denoise


def affine_error(
    schedule: Rates, variances: Float[Number, "m"], t: Float[Number, "n"]
) -> Float[Array, "n"]:
    """E|x_0 - E[x_0 | x_t]|^2 / d of the Gaussian denoiser, at times t (n,) -> (n,).

    The mean over i of s_i sigma^2 / (alpha^2 s_i + sigma^2) = s_i / (1 + SNR s_i), s_i the
    eigenvalues (m,) of the covariance, or the variances of elements for the denoiser that takes
    them for independent. Since that estimate is affine in x_t, this is its error on any data with
    these moments, Gaussian or not; the best that an affine estimate can do.
    """
    snr = jnp.exp(schedule.logsnr(jnp.asarray(t)))[:, None]
    variances = jnp.maximum(jnp.asarray(variances, jnp.float32), 0.0)
    return (variances / (1 + snr * variances)).mean(1)


def gaussian_flow(schedule: Rates, mean: Number, std: Number, x: X, *, t: T, s: T) -> Array:
    """Where the probability-flow ODE of N(m, s^2) data takes x from time t to time s.

    x_t = alpha m + sqrt(alpha^2 std^2 + sigma^2) z with the same z at all times.
    """

    def deviation(u: Array) -> Array:
        return jnp.sqrt(
            expand(schedule.alpha(u) ** 2, x) * std**2 + expand(schedule.sigma(u) ** 2, x)
        )

    z = (x - expand(schedule.alpha(t), x) * mean) / deviation(t)
    return expand(schedule.alpha(s), x) * mean + deviation(s) * z


def gaussian_jump(schedule: Rates, mean: Number, std: Number) -> Denoise:
    """The denoiser of two times of N(m, s^2) data: a DDIM step by its x_0 ends on the exact flow.

    x_0 = (x_s - (sigma_s / sigma_t) x_t) / (alpha_s - alpha_t sigma_s / sigma_t) with x_s from
    `gaussian_flow`; E[x_0 | x_t] where s is t or is not given.
    """
    still = gaussian(schedule, mean, std)

    def denoise(x_t: X, t: T, s: T | None = None) -> Estimate:
        if s is None:
            return still(x_t, t)
        ratio = expand(schedule.sigma(s) / schedule.sigma(t), x_t)
        gap = expand(schedule.alpha(s), x_t) - ratio * expand(schedule.alpha(t), x_t)
        jump = gaussian_flow(schedule, mean, std, x_t, t=t, s=s) - ratio * x_t
        moves = gap != 0
        x0 = jnp.where(moves, jump / jnp.where(moves, gap, 1.0), still(x_t, t).x0)
        return Estimate(x0)

    return denoise


def mixture(
    schedule: Rates, means: Float[Number, "k d"], std: Number, weights: Float[Number, "k"]
) -> Denoise:
    """E[x_0 | x_t] for x_0 ~ sum_k weights_k N(means_k, std^2 I).

    The posterior mean of each component, weighted by its posterior probability. means: (K, d) for
    x_t (B, d); weights: (K,), positive, summing to 1.
    """
    means, log_weights = jnp.asarray(means), jnp.log(jnp.asarray(weights))

    def square(a: Array) -> Array:
        return (a**2).sum(-1, keepdims=True)

    def denoise(x_t: X, t: T, s: T | None = None) -> Estimate:
        alpha, sigma = expand(schedule.alpha(t), x_t), expand(schedule.sigma(t), x_t)
        variance = alpha**2 * std**2 + sigma**2
        away = x_t[:, None] - jnp.reshape(alpha, (-1, 1, 1)) * means  # (B, K, d)
        variance = jnp.reshape(variance, (-1, 1, 1))
        share = jax.nn.softmax(log_weights[:, None] - 0.5 * square(away) / variance, axis=1)
        gain = jnp.reshape(alpha, (-1, 1, 1)) * std**2 / variance
        return Estimate((share * (means + gain * away)).sum(1))

    return denoise


def component(
    schedule: Rates,
    means: Float[Number, "k d"],
    std: Number,
    weights: Float[Number, "k"],
    *,
    label: Int[Array, "b"],
) -> LogProb:
    """log p(label | x_t), (x_t (B, d), t) -> (B,), which component an example is of.

    x_t given component k is N(alpha means_k, (alpha^2 std^2 + sigma^2) I). label: (B,).
    """
    means, log_weights = jnp.asarray(means), jnp.log(jnp.asarray(weights))

    def log_prob(x_t: X, t: T) -> PerExample:
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        away = x_t[:, None] - jnp.reshape(alpha, (-1, 1, 1)) * means  # (B, K, d)
        variance = jnp.reshape(alpha**2 * std**2 + sigma**2, (-1, 1))
        share = jax.nn.log_softmax(log_weights - 0.5 * (away**2).sum(-1) / variance, axis=1)
        return jnp.take_along_axis(share, label[:, None], 1)[:, 0]

    return log_prob


def dataset(schedule: Rates, points: Float[Number, "k d"]) -> Denoise:
    """E[x_0 | x_t] for x_0 drawn evenly from finitely many points: their mean by likelihood.

    points: (K, d) for x_t (B, d). The denoiser that a network fits if it learns its examples.
    """
    points = jnp.asarray(points)
    return mixture(schedule, points, 0.0, jnp.full(len(points), 1 / len(points)))


def uniform(schedule: Rates, low: float, high: float) -> Denoise:
    """E[x_0 | x_t] for elements of x_0 ~ U(low, high): the mean of a cut normal distribution.

    Where r = sigma / alpha is below half the range, it is that of N(x_t / alpha, r^2) cut to
    [low, high], in logarithms and mirrored to its left tail. Where r is larger this would lose its
    digits, and Gauss-Legendre quadrature of the nearly flat posterior is exact.
    """
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    nodes, weights = (jnp.asarray(a, jnp.float32) for a in np.polynomial.legendre.leggauss(24))

    def denoise(x_t: X, t: T, s: T | None = None) -> Estimate:
        alpha, sigma = expand(schedule.alpha(t), x_t), expand(schedule.sigma(t), x_t)
        h = half * alpha / sigma
        c = (x_t - alpha * middle) / sigma
        sign = jnp.where(c > 0, 1.0, -1.0)
        far = sign * c
        upper, lower = log_ndtr(h - far), log_ndtr(-h - far)
        log_share = upper + jnp.log(-jnp.expm1(lower - upper))
        flows = jnp.exp(norm.logpdf(jnp.stack([h + far, h - far])) - log_share)
        cut = sign * (far + flows[0] - flows[1]) / h
        broad = jnp.minimum(h, 1.0)[..., None]
        power = broad * c[..., None] * nodes - 0.5 * (broad * nodes) ** 2
        flat = (jax.nn.softmax(power + jnp.log(weights)) * nodes).sum(-1)
        return Estimate(half * jnp.where(h > 1, cut, flat) + middle)

    return denoise
