"""The convolution of the networks: a primitive whose gradients are quick in loops too.

XLA's CPU has fast kernels for convolutions of x (B, *space, C) by (*taps, C, out), and outside of
loops it brings every other one to this layout. Within a loop of a program it does not: a gradient,
which is a convolution with other axes, would go through plain loops there, in 4 to 120 times as
long (experiments/convolutions). So for a CPU the axes are moved before XLA sees them. Otherwise
this is `lax.conv_general_dilated`. It is linear in each of its arguments, and so JAX has all its
derivatives, of any order and in either mode, from what the gradients by the two are.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax, make_jaxpr, vmap
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

Axes = lax.ConvDimensionNumbers
Padding = str | Sequence[tuple[int, int]]  # "SAME", "VALID", or (before, after) for each axis


class Window(NamedTuple):
    """How a kernel goes over x, in the words of `lax`: an entry for each axis of space.

    dimension_numbers: where batch, channels and space stand in x; out, channels and taps in the
        kernel; batch, out and places in the result.
    """

    window_strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    lhs_dilation: tuple[int, ...]
    rhs_dilation: tuple[int, ...]
    dimension_numbers: Axes


def convolved(x: Array, kernel: Array, strides: Sequence[int], padding: Padding) -> Array:
    """x (B, *space, C) by a kernel (*taps, C, out): (B, *places, out), in the type of both."""
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:-1], kernel.shape[:-2], strides, padding)
    ones = (1,) * len(strides)
    pads = tuple((before, after) for before, after in padding)
    window = Window(tuple(strides), pads, ones, ones, channels_last(len(ones)))
    return convolution_p.bind(x, kernel, window=window)


def channels_last(space: int) -> Axes:
    """Those of (B, *space, C), (*taps, C, out) and (B, *places, out)."""
    inner, last = range(space), space + 1
    places = (0, last, *(1 + axis for axis in inner))
    return Axes(places, (last, space, *inner), places)


def _as_given(x: Array, kernel: Array, *, window: Window) -> Array:
    return lax.conv_general_dilated(x, kernel, **window._asdict())


def _with_channels_last(x: Array, kernel: Array, *, window: Window) -> Array:
    given, usual = window.dimension_numbers, channels_last(x.ndim - 2)
    x = jnp.moveaxis(x, given.lhs_spec, usual.lhs_spec)
    kernel = jnp.moveaxis(kernel, given.rhs_spec, usual.rhs_spec)
    y = _as_given(x, kernel, window=window._replace(dimension_numbers=usual))
    return jnp.moveaxis(y, usual.out_spec, given.out_spec)


def _by_x(g: Array, x: Any, kernel: Array, *, window: Window) -> Array:
    """The gradient by x, of g by the result: a convolution of g by the kernel turned around."""
    strides, padding, x_dilation, kernel_dilation, (of_x, of_kernel, of_y) = window
    out, channels, *taps = of_kernel
    back = Window(
        x_dilation,
        tuple(
            (tap - 1 - before, size - place + before)
            for (before, _), size, tap, place in zip(
                padding,
                _spread(x.aval.shape, of_x, x_dilation),
                _spread(kernel.shape, of_kernel, kernel_dilation),
                _spread(g.shape, of_y, strides),
                strict=True,
            )
        ),
        strides,
        kernel_dilation,
        Axes(of_y, (channels, out, *taps), of_x),
    )
    return convolution_p.bind(g, lax.rev(kernel, taps), window=back)


def _by_kernel(g: Array, x: Array, kernel: Any, *, window: Window) -> Array:
    """That by the kernel: a convolution of x by g, over examples as if they were channels."""
    strides, padding, x_dilation, kernel_dilation, axes = window
    back = Window(
        kernel_dilation,
        tuple(
            (before, tap - 1 + place - size - before)
            for (before, _), size, tap, place in zip(
                padding,
                _spread(x.shape, axes.lhs_spec, x_dilation),
                _spread(kernel.aval.shape, axes.rhs_spec, kernel_dilation),
                _spread(g.shape, axes.out_spec, strides),
                strict=True,
            )
        ),
        x_dilation,
        strides,
        Axes(*((second, first, *space) for first, second, *space in (axes[0], axes[2], axes[1]))),
    )
    return convolution_p.bind(x, g, window=back)


def _spread(shape: Sequence[int], axes: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """How far what lies along each axis of space reaches, `dilation` from one to the next."""
    return [(shape[axis] - 1) * by + 1 for axis, by in zip(axes[2:], dilation, strict=True)]


def _batched(arrays: Sequence[Array], axes: Sequence[Any], *, window: Window) -> tuple[Array, int]:
    return vmap(partial(_as_given, window=window), tuple(axes))(*arrays), 0


def _shaped(x: Any, kernel: Any, *, window: Window) -> Any:
    return make_jaxpr(partial(_as_given, window=window))(x, kernel).out_avals[0]


convolution_p = Primitive("convolution")
convolution_p.def_impl(_as_given)
convolution_p.def_abstract_eval(_shaped)
ad.defbilinear(convolution_p, _by_x, _by_kernel)
batching.primitive_batchers[convolution_p] = _batched
mlir.register_lowering(convolution_p, mlir.lower_fun(_as_given, multiple_results=False))
mlir.register_lowering(
    convolution_p, mlir.lower_fun(_with_channels_last, multiple_results=False), platform="cpu"
)
