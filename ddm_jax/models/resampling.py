"""Arrays (B, *space, C) made smaller and larger, for any number of spatial dimensions."""

import math

import flax.linen as nn
import jax.numpy as jnp
from jax import Array


def divides(space: tuple[int, ...], halvings: int, levels: str, patch: int = 1) -> None:
    """Raises ValueError where data of size `space` cannot be patched and halved that often."""
    if not space:
        raise ValueError(
            "convolutions need data with positions, as pixels are, and these have none; a "
            "diffusion model of them takes model.name=residual_mlp"
        )
    unit = patch * 2**halvings
    if any(size % unit for size in space):
        shape = "x".join(map(str, space))
        patches = f"patches of {patch}, then " if patch > 1 else ""
        raise ValueError(
            f"images of {shape} do not divide by {unit} ({patches}{halvings} halvings); "
            f"set data.size to a multiple of {unit}, or give fewer {levels}"
        )


def upsample(x: Array) -> Array:
    """Nearest neighbour, every spatial size doubled."""
    for axis in range(1, x.ndim - 1):
        x = jnp.repeat(x, 2, axis=axis)
    return x


def downsample(x: Array) -> Array:
    """Mean over blocks of 2 along every spatial axis."""
    window = (2,) * (x.ndim - 2)
    return nn.avg_pool(x, window, strides=window)


def pool_max(x: Array) -> Array:
    """Maximum over blocks of 2 along every spatial axis."""
    window = (2,) * (x.ndim - 2)
    return nn.max_pool(x, window, strides=window)


def space_to_depth(x: Array, patch: int) -> Array:
    """Folds every block of patch pixels an axis into channels: (B, *space, C) -> smaller, deeper.

    The order within a block is row-major, channels fastest.
    """
    space = x.ndim - 2
    cells = [n for size in x.shape[1:-1] for n in (size // patch, patch)]
    x = x.reshape(x.shape[0], *cells, x.shape[-1])
    outer, inner = range(1, 2 * space, 2), range(2, 2 * space + 1, 2)
    x = x.transpose(0, *outer, *inner, 2 * space + 1)
    return x.reshape(*x.shape[: space + 1], -1)


def rank_of_patches(shape: tuple[int, ...], patch: int, channels: int) -> int:
    """Of how many numbers (*space, C) is a function where `channels` numbers make a patch."""
    positions = math.prod(size // patch for size in shape[:-1])
    return positions * min(channels, shape[-1] * patch ** (len(shape) - 1))


def depth_to_space(x: Array, patch: int) -> Array:
    """The inverse of space_to_depth."""
    space = x.ndim - 2
    x = x.reshape(*x.shape[:-1], *(patch,) * space, -1)
    pairs = [axis for i in range(space) for axis in (1 + i, 1 + space + i)]
    x = x.transpose(0, *pairs, 2 * space + 1)
    sizes = [x.shape[1 + 2 * i] * patch for i in range(space)]
    return x.reshape(x.shape[0], *sizes, -1)
