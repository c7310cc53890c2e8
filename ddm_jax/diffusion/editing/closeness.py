"""How near an edited image came to the original."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


def psnr(image: ArrayLike, original: ArrayLike) -> Array:
    """10 log10(1 / mean (image - original)^2) in dB, one an example (B,); infinite where equal.

    image, original: (B, ...) in [0, 1], so that the largest difference is 1.
    """
    difference = jnp.asarray(image, jnp.float32) - jnp.asarray(original, jnp.float32)
    return -10 * jnp.log10((difference**2).mean(tuple(range(1, difference.ndim))))
