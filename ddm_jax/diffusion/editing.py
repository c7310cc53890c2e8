"""Editing by the start and the grid: between noises, back from a level, and how near it came."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

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


def from_level(times: ArrayLike, t: float | np.floating) -> np.ndarray:
    """The grid for a start at t: t itself, then those of `times` (n,) that lie below it, float32.

    Noising to t and sampling from there keeps what t leaves of an image and redraws the rest.
    Meng et al. 2021, arXiv:2108.01073, algorithm 1.
    """
    grid, start = np.asarray(times, np.float32), np.float32(t)
    return np.concatenate([[start], grid[grid < start]])


def psnr(image: ArrayLike, original: ArrayLike) -> Array:
    """10 log10(1 / mean (image - original)^2) in dB, one an example (B,); infinite where equal.

    image, original: (B, ...) in [0, 1], so that the largest difference is 1.
    """
    difference = jnp.asarray(image, jnp.float32) - jnp.asarray(original, jnp.float32)
    return -10 * jnp.log10((difference**2).mean(tuple(range(1, difference.ndim))))
