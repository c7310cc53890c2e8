"""Denoisers made of denoisers: guided, and with estimates held in the range of the data."""

import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.process import Denoise, Estimate


def guide(main: Denoise, reference: Denoise, scale: float) -> Denoise:
    """x0 = u + scale (c - u), c = main and u = reference.

    scale = 1 is exactly `main` (the reference is not called), 0 is the reference, and above 1
    extrapolates. On x0_hat this equals the published form on eps_hat, since both are affine in
    each other at fixed x_t. Ho & Salimans 2022, arXiv:2207.12598, eq. 6 (there w = scale - 1).
    """
    if scale == 1.0:
        return main

    def guided(x_t: Array, t: Array, s: Array | None = None) -> Estimate:
        c, u = main(x_t, t, s), reference(x_t, t, s)
        return c._replace(x0=u.x0 + scale * (c.x0 - u.x0))

    return guided


def clip_x0(denoise: Denoise, low: Array, high: Array) -> Denoise:
    """The denoiser whose x0_hat is clipped to the range of the data, per channel or overall.

    Samplers derive eps from x_t and x0_hat, so their eps follows the clipped estimate.
    """

    def clipped(x_t: Array, t: Array, s: Array | None = None) -> Estimate:
        estimate = denoise(x_t, t, s)
        return estimate._replace(x0=jnp.clip(estimate.x0, low, high))

    return clipped


def clip_x0_dynamically(
    denoise: Denoise, low: Array, high: Array, percentile: float = 99.5
) -> Denoise:
    """The denoiser whose x0_hat is clipped at a percentile of its own size and scaled to the range.

    In units where the range is [-1, 1]: s = max(1, percentile of |x0_hat| over the example),
    x0 = clip(x0_hat, -s, s) / s. Saharia et al. 2022, arXiv:2205.11487, section 2.3.
    """
    middle, half = (low + high) / 2, (high - low) / 2

    def clipped(x_t: Array, t: Array, s: Array | None = None) -> Estimate:
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
