"""Sums over positions, and what their gradients are, in the form that is fast on the machine.

XLA makes one operation of a sum and of all that leads to it, on a CPU over and over for each sum
that needs the same numbers, and slowly along all axes but the last. A product with ones is left
alone: it reads what was written once. Other machines sum as they would.
"""

import math

import jax.numpy as jnp
from jax import Array, lax


def total(x: Array) -> Array:
    """The sum over space of x (B, *space, C): (B, C)."""

    def product(flat: Array) -> Array:
        return jnp.einsum("bn,bnc->bc", jnp.ones(flat.shape[:2], flat.dtype), flat)

    def summed(flat: Array) -> Array:
        return flat.sum(1)

    flat = x.reshape(len(x), -1, x.shape[-1])
    return lax.platform_dependent(flat, cpu=product, default=summed)


def mean(x: Array) -> Array:
    """The mean over space of x (B, *space, C): (B, C)."""
    return total(x) / math.prod(x.shape[1:-1])


def spread(a: Array, shape: tuple[int, ...]) -> Array:
    """a (B, C) at each position of shape (B, *space, C); the gradient by a is a `total`."""
    places = shape[0], math.prod(shape[1:-1])

    def product(a: Array) -> Array:
        return jnp.einsum("bn,bc->bnc", jnp.ones(places, a.dtype), a)

    def repeated(a: Array) -> Array:
        return jnp.broadcast_to(a[:, None], (*places, a.shape[-1]))

    return lax.platform_dependent(a, cpu=product, default=repeated).reshape(shape)


def biased(y: Array, bias: Array) -> Array:
    """y (..., C) + bias (C,)."""
    return y + spread(bias[None], (1, *y.shape))[0]
