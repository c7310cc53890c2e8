"""Sums over positions, and what their gradients are, in the form that is fast on the machine.

XLA makes one operation of a sum and of all that leads to it, on a CPU over and over for each sum
that needs the same numbers, and slowly along all axes but the last. A product with ones is left
alone: it reads what was written once. It takes longer to compile, so examples of few numbers are
summed as they are, and so is everything on other machines.
"""

import math
from functools import partial

import jax.numpy as jnp
from jax import Array, lax

LARGE = 2**13  # numbers of one example from which on a CPU takes products


def total(x: Array) -> Array:
    """The sum over space of x (B, *space, C): (B, C)."""

    def product(flat: Array) -> Array:
        return jnp.einsum("bn,bnc->bc", jnp.ones(flat.shape[:2], flat.dtype), flat)

    def summed(flat: Array) -> Array:
        return flat.sum(1)

    flat = x.reshape(len(x), -1, x.shape[-1])
    if not is_large(x.shape):
        return summed(flat)
    return lax.platform_dependent(flat, cpu=product, default=summed)


def mean(x: Array) -> Array:
    """The mean over space of x (B, *space, C): (B, C)."""
    return total(x) / math.prod(x.shape[1:-1])


def spread(a: Array, shape: tuple[int, ...]) -> Array:
    """a (B, C) at each position of shape (B, *space, C); the gradient by a is a `total`."""
    places = math.prod(shape[1:-1])
    return (_spread if is_large(shape) else _repeated)(a, places).reshape(shape)


def biased(y: Array, bias: Array) -> Array:
    """y (B, *space, C) + bias (C,)."""
    if not is_large(y.shape):
        return y + bias
    return y + _spread(bias[None], y.size // len(bias)).reshape(y.shape)


def is_large(shape: tuple[int, ...]) -> bool:
    """Whether examples (B, ...) are: how many there are is no matter, so that bits are the same."""
    return math.prod(shape[1:]) >= LARGE


def _spread(a: Array, places: int) -> Array:
    """(B, C) -> (B, places, C)."""

    def product(a: Array) -> Array:
        return jnp.einsum("bn,bc->bnc", jnp.ones((len(a), places), a.dtype), a)

    return lax.platform_dependent(a, cpu=product, default=partial(_repeated, places=places))


def _repeated(a: Array, places: int) -> Array:
    return jnp.broadcast_to(a[:, None], (len(a), places, a.shape[-1]))
