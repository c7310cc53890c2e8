"""Convolution that is quick on few pixels too, and the module of Flax's parameters around it."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax

from ddm_jax.models.reductions import biased


class Convolution(nn.Module):
    """Convolution of x (B, *space, C) by `width` taps an axis, padded to ceil(space / stride)."""

    channels: int
    width: int = 3
    stride: int = 1
    kernel_init: Callable[..., Array] = nn.initializers.lecun_normal()
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        space = x.ndim - 2
        taps, strides = (self.width,) * space, (self.stride,) * space
        kernel = self.param("kernel", self.kernel_init, (*taps, x.shape[-1], self.channels))
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        last, inner = space + 1, range(space)
        places = (0, last, *(1 + axis for axis in inner))
        axes = lax.ConvDimensionNumbers(places, (last, space, *inner), places)
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        y = convolution(x, kernel, strides, "SAME", dimension_numbers=axes)
        return biased(y, bias.astype(self.dtype))


def convolution(x: Array, kernel: Array, strides: Sequence[int], padding: Any, **how: Any) -> Array:
    """`lax.conv_general_dilated` of x (B, *space, C) by a kernel (*taps, C, out), padded to "SAME".

    Where space has fewer positions than the kernel, by one product of matrices: XLA's CPU would go
    through a plain loop, at 2 x 2 pixels in 13 to 19 times as long (experiments/convolutions).
    """
    taps, space = kernel.shape[:-2], x.shape[1:-1]
    if math.prod(space) >= math.prod(taps):
        return lax.conv_general_dilated(x, kernel, strides, padding, **how)
    seen = jnp.concatenate([*windows(x, taps, strides, padding)], -1)
    return seen @ kernel.reshape(-1, kernel.shape[-1])


def windows(x: Array, taps: Sequence[int], strides: Sequence[int], padding: Any) -> Iterator[Array]:
    """What each tap of a kernel sees of x (B, *space, C), in order: (B, *places, C) each.

    padding: "SAME", "VALID", or a pair for each axis of space.
    """
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:-1], taps, strides, padding)
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    ends = [size - width + 1 for size, width in zip(x.shape[1:-1], taps, strict=True)]
    for tap in product(*map(range, taps)):
        yield x[:, *(slice(i, i + end, by) for i, end, by in zip(tap, ends, strides, strict=True))]
