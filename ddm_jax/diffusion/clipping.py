"""Denoisers whose estimates are held in the range of the data, after any guidance."""

import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import T, X
from ddm_jax.diffusion.process import Denoise, Estimate


def clip_x0(denoise: Denoise, low: Array | float, high: Array | float) -> Denoise:
    """The denoiser whose x0_hat is clipped to the range of the data, per channel or overall.

    Samplers derive eps from x_t and x0_hat, so their eps follows the clipped estimate.
    """

    def clipped(x_t: X, t: T, s: T | None = None) -> Estimate:
        estimate = denoise(x_t, t, s)
        return estimate._replace(x0=jnp.clip(estimate.x0, low, high))

    return clipped


def clip_x0_dynamically(
    denoise: Denoise, low: Array | float, high: Array | float, percentile: float = 99.5
) -> Denoise:
    """The denoiser whose x0_hat is clipped at a percentile of its own size and scaled to the range.

    In units where the range is [-1, 1]: s = max(1, percentile of |x0_hat| over the example),
    x0 = clip(x0_hat, -s, s) / s. Saharia et al. 2022, arXiv:2205.11487, section 2.3.
    """
    middle, half = (low + high) / 2, (high - low) / 2

    def clipped(x_t: X, t: T, s: T | None = None) -> Estimate:
        estimate = denoise(x_t, t, s)
        unit = (estimate.x0 - middle) / half
        axes = tuple(range(1, unit.ndim))
        size = jnp.maximum(jnp.percentile(abs(unit), percentile, axis=axes, keepdims=True), 1.0)
        return estimate._replace(x0=middle + half * jnp.clip(unit, -size, size) / size)

    return clipped


CLIPS = {
    "none": lambda denoise, low, high: denoise,
    "static": clip_x0,
    "dynamic": clip_x0_dynamically,
}
