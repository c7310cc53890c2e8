"""Walks between noises."""

import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import T, X, expand, length

_STRAIGHT = 1e-4  # sine of the angle below which great circles are taken for straight lines


def slerp(a: X, b: X, weight: T) -> X:
    """(sin((1 - w) theta) a + sin(w theta) b) / sin(theta), theta the angle between a and b.

    The angle is that of each example, over all its elements. Independent noises are nearly at
    right angles, where sin^2 + cos^2 = 1 keeps the variance of N(0, I), which (1 - w) a + w b
    halves in the middle. Weights 0 and 1 give the ends exactly. Where the ends are parallel or
    opposite no great circle is singled out, and the straight line is taken. a, b: (B, ...);
    weight: () or (B,). float32. Shoemake 1985, "Animating rotation with quaternion curves".
    """
    a, b, w = (jnp.asarray(v, jnp.float32) for v in (a, b, weight))
    along, across = _unit(a) + _unit(b), _unit(a) - _unit(b)
    # Digits of the angle are lost in its cosine near 0 and pi, here nowhere.
    theta = 2 * jnp.arctan2(length(across), length(along))
    sine = jnp.sin(theta)
    straight = sine < _STRAIGHT
    below = jnp.where(straight, 1.0, sine)
    of_a = jnp.where(straight, 1 - w, jnp.sin((1 - w) * theta) / below)
    of_b = jnp.where(straight, w, jnp.sin(w * theta) / below)
    return expand(of_a, a) * a + expand(of_b, b) * b


def _unit(v: Array) -> Array:
    """v / |v|, 0 where v is 0."""
    return v / expand(jnp.maximum(length(v), jnp.finfo(v.dtype).tiny), v)
