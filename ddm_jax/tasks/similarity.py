"""How like two sets of examples are, pair by pair: PSNR and SSIM."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

WINDOW, WIDTH = 11, 1.5  # pixels of SSIM's window and the deviation of its weights
SMALL = 1e-10  # the least mean square, in units of the range, that PSNR tells from none


def psnr(a: Array, b: Array, width: Array | float) -> Array:
    """10 log10(width^2 / mean (a - b)^2) of examples (B, ...), in dB (B,); at most 100.

    width: of the range of values.
    """
    square = ((a - b) ** 2).mean(tuple(range(1, a.ndim))) / width**2
    return -10 * jnp.log10(jnp.maximum(square, SMALL))


def ssim(a: Array, b: Array, width: Array | float) -> Array:
    """The structural similarity of examples (B, *space, C), at most 1: (B,).

    (2 m_a m_b + c_1) (2 s_ab + c_2) / ((m_a^2 + m_b^2 + c_1) (s_a^2 + s_b^2 + c_2)), averaged over
    channels and all places of the window, with means m, variances s^2 and covariance s_ab weighted
    by a Gaussian of deviation 1.5 in a window of 11 pixels an axis; c_1 = (0.01 width)^2,
    c_2 = (0.03 width)^2. width: of the range of values. ValueError where the window does not fit.
    Wang et al. 2004, doi:10.1109/TIP.2003.819861.
    """
    fits_window(a.shape[1:-1])
    c1, c2 = (0.01 * width) ** 2, (0.03 * width) ** 2
    mean_a, mean_b = _blurred(a), _blurred(b)
    # Of differences from a common middle, whose squares keep their digits in float32.
    middle = a.mean(tuple(range(1, a.ndim - 1)), keepdims=True)
    a, b = a - middle, b - middle
    near_a, near_b = mean_a - middle, mean_b - middle
    variance_a, variance_b = _blurred(a**2) - near_a**2, _blurred(b**2) - near_b**2
    covariance = _blurred(a * b) - near_a * near_b
    above = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    below = (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    return (above / below).mean(tuple(range(1, a.ndim)))


def fits_window(space: tuple[int, ...]) -> None:
    """Raises ValueError where examples of size `space` are smaller than SSIM's window."""
    if min(space) < WINDOW:
        shape = "x".join(map(str, space))
        raise ValueError(
            f"the window of SSIM is {WINDOW} pixels wide, and images of {shape} are smaller; take "
            "evaluate.metrics=psnr"
        )


def _blurred(x: Array) -> Array:
    """x (B, *space, C) averaged by the window at all its places, axis by axis."""
    away = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(away**2) / (2 * WIDTH**2))
    weights /= weights.sum()
    for axis in range(1, x.ndim - 1):
        places = x.shape[axis] - WINDOW + 1
        parts = (
            w * jax.lax.slice_in_dim(x, k, k + places, axis=axis)
            for k, w in enumerate(weights.tolist())
        )
        x = sum(parts, jnp.zeros(()))
    return x
