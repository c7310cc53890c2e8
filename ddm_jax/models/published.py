"""Layers of published networks, for use without training: x is (B, H, W, C), float32.

Their parameters have the names and the axes that they have in the files of PyTorch, so that a tree
of them, its names joined by dots, is such a file: kernels are (out, in, height, width), matrices
(out, in), and the statistics of batch norms are parameters like the others.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax

from ddm_jax.models.convolution import windows
from ddm_jax.models.primitive import Padding


class Conv(nn.Module):
    """Convolution without a bias. groups: the channels fall into so many that do not mix.

    padding: "VALID", "SAME", which puts the odd row of zeros at the end, or (before, after) for
    each axis.
    """

    channels: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: Padding = "SAME"
    groups: int = 1

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.channels, x.shape[-1] // self.groups, *self.kernel)
        init = nn.initializers.variance_scaling(2.0, "fan_in", "normal", in_axis=1, out_axis=0)
        weight = self.param("weight", init, shape)
        if self.groups == self.channels == x.shape[-1]:
            return channel_by_channel(x, weight, self.stride, self.padding)
        of_places = self.kernel == (1, 1) and isinstance(self.padding, str)
        if of_places and self.stride == self.groups == 1:
            return x @ weight[:, :, 0, 0].T  # on a CPU at twice the speed of a convolution
        return lax.conv_general_dilated(
            x,
            weight,
            (self.stride, self.stride),
            self.padding,
            dimension_numbers=("NHWC", "OIHW", "NHWC"),
            feature_group_count=self.groups,
        )


def channel_by_channel(x: Array, weight: Array, stride: int, padding: Padding) -> Array:
    """Convolution of each channel with its own kernel: x (B, H, W, C), weight (C, 1, k, l).

    A sum over the places of the kernel, which XLA computes in one pass; on a CPU its convolution
    of as many groups as channels takes up to 10 times as long.
    """
    seen = windows(x, weight.shape[2:], (stride, stride), padding)
    by_tap = weight[:, 0].reshape(len(weight), -1).T
    return functools.reduce(jnp.add, (k * part for k, part in zip(by_tap, seen, strict=True)))


class StoredNorm(nn.Module):
    """Batch norm with the statistics of its training: (x - m) / sqrt(v + epsilon) w + b."""

    epsilon: float = 1e-3

    @nn.compact
    def __call__(self, x: Array) -> Array:
        zeros, ones, size = nn.initializers.zeros, nn.initializers.ones, x.shape[-1:]
        weight, bias = self.param("weight", ones, size), self.param("bias", zeros, size)
        mean, var = self.param("running_mean", zeros, size), self.param("running_var", ones, size)
        return (x - mean) * (weight * lax.rsqrt(var + self.epsilon)) + bias


class Linear(nn.Module):
    """W x + b."""

    channels: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        init = nn.initializers.lecun_normal(in_axis=1, out_axis=0)
        weight = self.param("weight", init, (self.channels, x.shape[-1]))
        return x @ weight.T + self.param("bias", nn.initializers.zeros, (self.channels,))


def mean_of_3(x: Array) -> Array:
    """The mean over 3 x 3 pixels around each; at the border over those that there are."""
    total, count = (
        lax.reduce_window(a, 0.0, lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")
        for a in (x, jnp.ones_like(x[:1, ..., :1]))
    )
    return total / count


def max_of_3(x: Array, stride: int = 1, padding: str = "VALID") -> Array:
    """The maximum over 3 x 3 pixels."""
    return nn.max_pool(x, (3, 3), (stride, stride), padding)
