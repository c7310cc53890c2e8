"""Denoisers made of two: extrapolated from one to the other, and each at its own times."""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import T, X, expand, length
from ddm_jax.diffusion.process import Denoise, Estimate


@runtime_checkable
class Both(Protocol):
    """A model with its condition and without it, asked at once."""

    def __call__(
        self, x_t: Array, t: Array, s: Array | None = None
    ) -> tuple[Estimate, Estimate]: ...


def extrapolate(c: X, u: X, scale: float, *, parallel: float = 1.0, norm: float = 0.0) -> X:
    """x0 = c + (scale - 1) d, d = c - u: u + scale (c - u).

    On x0_hat this equals the published form on eps_hat, since both are affine in each other at
    fixed x_t: Ho & Salimans 2022, arXiv:2207.12598, eq. 6 (there w = scale - 1). With `norm`, the
    length of d over an example's elements is at most that; then the part of d along c is multiplied
    by `parallel`, since that part raises contrast and saturation: Sadat et al. 2024,
    arXiv:2410.02416, eq. 5 to 9, without the momentum, which a function of x_t alone cannot have.
    """
    d = c - u
    if norm:
        size = expand(length(d), d)
        d = d * jnp.minimum(1.0, norm / jnp.where(size > 0, size, 1.0))
    if parallel != 1.0:
        axes = tuple(range(1, c.ndim))
        power = (c * c).sum(axes, keepdims=True)
        along = (d * c).sum(axes, keepdims=True) / jnp.where(power > 0, power, 1.0) * c
        d = d - (1 - parallel) * along
    return c + (scale - 1) * d


def combine(main: Denoise, reference: Denoise, scale: float) -> Denoise:
    """x0 = u + scale (c - u), c = main and u = reference: see `extrapolate`.

    Scale 1 is exactly `main` and 0 exactly `reference`, and the other is not called.
    """
    if scale in (0.0, 1.0):
        return main if scale else reference

    def guided(x_t: X, t: T, s: T | None = None) -> Estimate:
        c, u = main(x_t, t, s), reference(x_t, t, s)
        return c._replace(x0=extrapolate(c.x0, u.x0, scale))

    return guided


def within(low: float, high: float, inside: Denoise, outside: Denoise) -> Denoise:
    """`inside` at times low <= t <= high, `outside` elsewhere.

    Where all examples have one time, only one of them is called.
    """
    if low <= 0 and high >= 1:
        return inside

    def chosen(x_t: X, t: T, s: T | None = None) -> Estimate:
        use = (t >= low) & (t <= high)
        if jnp.ndim(use) == 0:
            return jax.lax.cond(use, inside, outside, x_t, t, s)
        one, other = inside(x_t, t, s), outside(x_t, t, s)
        return one._replace(x0=jnp.where(expand(use, x_t), one.x0, other.x0))

    return chosen


def rescale(x0: X, aim: X, share: float) -> X:
    """x0 with the deviation of `aim`, for a `share` of the way.

    mean + (share std_aim / std + 1 - share) (x0 - mean), mean and deviation over an example's
    elements. Guidance at large scales raises the deviation, and so the contrast. Lin et al. 2023,
    arXiv:2305.08891, eq. 15 and 16, who scale about zero.
    """
    if share == 0.0:
        return x0
    axes = tuple(range(1, x0.ndim))
    mean, std = x0.mean(axes, keepdims=True), x0.std(axes, keepdims=True)
    ratio = aim.std(axes, keepdims=True) / jnp.where(std > 0, std, 1.0)
    return mean + (share * ratio + 1 - share) * (x0 - mean)


def beside(main: Denoise, other: Denoise) -> Both:
    """Two denoisers asked one after the other."""

    def called(x_t: X, t: T, s: T | None = None) -> tuple[Estimate, Estimate]:
        return main(x_t, t, s), other(x_t, t, s)

    return called
