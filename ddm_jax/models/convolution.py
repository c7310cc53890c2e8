"""Convolution that is quick on few pixels too, and the module of Flax's parameters around it."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax

from ddm_jax.models.primitive import Padding, convolved
from ddm_jax.models.reductions import biased
from ddm_jax.models.resampling import upsample


class Convolution(nn.Module):
    """Convolution of x (B, *space, C) by `width` taps an axis, padded to ceil(space / stride).

    enlarge: of x with each position twice along each axis, for 3 taps and strides of 1.
    """

    channels: int
    width: int = 3
    stride: int = 1
    enlarge: bool = False
    kernel_init: Callable[..., Array] = nn.initializers.lecun_normal()
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        space = x.ndim - 2
        taps, strides = (self.width,) * space, (self.stride,) * space
        kernel = self.param("kernel", self.kernel_init, (*taps, x.shape[-1], self.channels))
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        y = enlarged(x, kernel) if self.enlarge else convolution(x, kernel, strides, "SAME")
        return biased(y, bias.astype(self.dtype))


def convolution(x: Array, kernel: Array, strides: Sequence[int], padding: Padding) -> Array:
    """`convolved`: x (B, *space, C) by a kernel (*taps, C, out), padded to "SAME".

    Where space has fewer positions than the kernel, by one product of matrices: XLA's CPU would go
    through a plain loop, at 2 x 2 pixels in 13 to 19 times as long (experiments/convolutions).
    """
    taps, space = kernel.shape[:-2], x.shape[1:-1]
    if math.prod(space) >= math.prod(taps):
        return convolved(x, kernel, strides, padding)
    seen = jnp.concatenate([*windows(x, taps, strides, padding)], -1)
    return seen @ kernel.reshape(-1, kernel.shape[-1])


def enlarged(x: Array, kernel: Array) -> Array:
    """`convolution` of `upsample`(x) by a kernel (3, ..., C, out), padded to "SAME".

    Along an axis, taps a, b, c around a first copy meet what stands before it by a, and itself by
    b + c; around a second copy itself by a + b, and what comes after by c. So kernels of 2 taps,
    one for each copy, give the same at 4/9 of the products in two dimensions, which a CPU waits
    for.
    """
    unit = (1,) * (x.ndim - 2)

    def plain(x: Array, kernel: Array) -> Array:
        return convolution(upsample(x), kernel, unit, "SAME")

    def by_copy(x: Array, kernel: Array, padding: tuple[tuple[int, int], ...] = ()) -> Array:
        axis = len(padding)
        if axis == len(unit):
            return convolution(x, kernel, unit, padding)
        a, b, c = jnp.split(kernel, 3, axis)
        first = by_copy(x, jnp.concatenate([a, b + c], axis), (*padding, (1, 0)))
        second = by_copy(x, jnp.concatenate([a + b, c], axis), (*padding, (0, 1)))
        both = jnp.stack([first, second], axis + 2)
        return both.reshape(*both.shape[: axis + 1], -1, *both.shape[axis + 3 :])

    return lax.platform_dependent(x, kernel, cpu=by_copy, default=plain)


def windows(
    x: Array, taps: Sequence[int], strides: Sequence[int], padding: Padding
) -> Iterator[Array]:
    """What each tap of a kernel sees of x (B, *space, C), in order: (B, *places, C) each.

    padding: "SAME", "VALID", or a pair for each axis of space.
    """
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:-1], taps, strides, padding)
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    ends = [size - width + 1 for size, width in zip(x.shape[1:-1], taps, strict=True)]
    for tap in product(*map(range, taps)):
        yield x[:, *(slice(i, i + end, by) for i, end, by in zip(tap, ends, strides, strict=True))]
