"""Where tokens stand on a grid of any number of axes: as vectors to add, or as turns of queries."""

import jax.numpy as jnp
import numpy as np
from jax import Array

_BASE = 10_000.0  # between the fastest and the slowest angle


def places(grid: tuple[int, ...]) -> np.ndarray:
    """The coordinates (N, axes) of the cells of a grid, row by row, float32."""
    return np.indices(grid).reshape(len(grid), -1).T.astype(np.float32)


def frequencies(count: int) -> np.ndarray:
    """base^(-i / count) for i from 0 to count - 1."""
    return _BASE ** (-np.arange(count) / count)


def sines_and_cosines(grid: tuple[int, ...], channels: int) -> np.ndarray:
    """Vectors (N, channels) for the cells of a grid: [sin(p f), cos(p f)], an equal share an axis.

    Vaswani et al. 2017, arXiv:1706.03762, section 3.5, for each axis as in He et al. 2022,
    arXiv:2111.06377. channels: a multiple of twice the number of
    axes, of which there is at least one.
    """
    angle = places(grid)[..., None] * frequencies(channels // (2 * len(grid)))
    vectors = np.concatenate([np.sin(angle), np.cos(angle)], -1)
    return vectors.reshape(len(vectors), channels).astype(np.float32)


def turned(x: Array, place: np.ndarray) -> Array:
    """x (B, N, heads, d) with pairs of its elements turned by the angles p f of their places.

    place: (N, axes). Each axis turns an equal share of the pairs (i, i + share), so that q . k
    depends on the difference of two places alone; what remains of d is not turned. Float32. Su et
    al. 2021, arXiv:2104.09864; by axes, Heo et al. 2024, arXiv:2403.13298.
    """
    axes = place.shape[-1]
    share = x.shape[-1] // (2 * axes)
    angle = (place[..., None] * frequencies(share)).reshape(len(place), 1, -1)
    count = angle.shape[-1]
    cos, sin = jnp.asarray(np.cos(angle), "float32"), jnp.asarray(np.sin(angle), "float32")
    a, b, rest = jnp.split(x.astype(jnp.float32), [count, 2 * count], -1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos, rest], -1)
