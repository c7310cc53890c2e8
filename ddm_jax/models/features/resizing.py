"""Pictures as published networks are shown them: in colours, and at their size."""

import jax
import jax.numpy as jnp
from jax import Array


def in_colours(x: Array) -> Array:
    """(B, H, W, 1 or 3) -> (B, H, W, 3): grey is red, green and blue of one strength."""
    return jnp.broadcast_to(x, (*x.shape[:-1], 3))


def smooth(x: Array, size: int) -> Array:
    """x (B, H, W, C) at size x size, linear between the centres of pixels.

    A smaller picture is of means: the triangle of weights is as wide as a new pixel, so that
    nothing is left out. Both axes go to `size`, whatever the shape was.
    """
    return jax.image.resize(x, (len(x), size, size, x.shape[-1]), "bilinear", antialias=True)


def between_centres(x: Array, size: int) -> Array:
    """As `smooth`, but always of the two nearest pixels: `interpolate` of PyTorch."""
    return jax.image.resize(x, (len(x), size, size, x.shape[-1]), "bilinear", antialias=False)


def between_corners(x: Array, size: int) -> Array:
    """x (B, H, W, C) at size x size: pixel i is what lies at i H / size, linear between pixels.

    The resize of TensorFlow before version 2, which puts pixels at their upper left corner.
    """
    for axis in (1, 2):
        count = x.shape[axis]
        place = jnp.arange(size) * (count / size)
        low = jnp.floor(place).astype(jnp.int32)
        part = (place - low).reshape(-1, *(1,) * (3 - axis))
        near, far = (jnp.take(x, i, axis) for i in (low, jnp.minimum(low + 1, count - 1)))
        x = near + (far - near) * part
    return x
