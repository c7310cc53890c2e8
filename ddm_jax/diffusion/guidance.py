"""Guidance: denoisers made of denoisers."""

from ddm_jax.diffusion.core import Denoise, Estimate


def guide(main: Denoise, reference: Denoise, scale: float) -> Denoise:
    """x0 = u + scale (c - u), c = main and u = reference.

    scale = 1 is exactly `main` (the reference is not called), 0 is the reference, and above 1
    extrapolates. On x0_hat this equals the published form on eps_hat, since both are affine in
    each other at fixed x_t. Ho & Salimans 2022, arXiv:2207.12598, eq. 6 (there w = scale - 1).
    """
    if scale == 1.0:
        return main

    def guided(x_t, t) -> Estimate:
        c, u = main(x_t, t), reference(x_t, t)
        return c._replace(x0=u.x0 + scale * (c.x0 - u.x0))

    return guided
