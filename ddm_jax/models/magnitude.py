"""Layers that keep the size of what goes through them, in training too.

Of inputs with mean square 1 every layer makes outputs with mean square 1, so long as weights and
inputs are unrelated: weights have mean square 1 for each output, sums are divided by what they add
to it, and no layer has a bias. Karras et al. 2023 (EDM2), arXiv:2312.02696, section 2.
"""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.noise_conds import random_waves
from ddm_jax.models.convolution import convolution
from ddm_jax.models.dropout import Dropout

UNIT = "unit_kernel"  # the name of weights that are to have mean square 1 for each output


def unit(x: Array, axes: int | Sequence[int]) -> Array:
    """x / (1e-4 + sqrt of its mean square over `axes`), in float32."""
    square = jnp.square(x.astype(jnp.float32)).mean(axes, keepdims=True)
    return x / (1e-4 + jnp.sqrt(square)).astype(x.dtype)


def unit_kernel(kernel: Array) -> Array:
    """A kernel (..., inputs, outputs) with mean square 1 for each output."""
    return unit(kernel, range(kernel.ndim - 1))


def mixed(a: Array, b: Array, share: float) -> Array:
    """((1 - share) a + share b) / sqrt((1 - share)^2 + share^2)."""
    return ((1 - share) * a + share * b) / math.hypot(1 - share, share)


def joined(a: Array, b: Array, share: float = 0.5) -> Array:
    """Channels of a, then of b, scaled so that a share of 0.5 gives both the same sum of squares.

    By w_a = (1 - share) sqrt(N / ((1 - share)^2 + share^2) / N_a) and likewise w_b, N_a and N_b
    channels of N in all: EDM2's equation 103.
    """
    n_a, n_b = a.shape[-1], b.shape[-1]
    whole = math.sqrt(n_a + n_b) / math.hypot(1 - share, share)
    return jnp.concatenate(
        [a * (whole * (1 - share) / math.sqrt(n_a)), b * (whole * share / math.sqrt(n_b))], -1
    )


def silu(x: Array) -> Array:
    """x sigmoid(x) / 0.596: of N(0, 1), mean square 1."""
    return nn.silu(x) / 0.596


def _drawn(key: Array, shape: tuple[int, ...]) -> Array:
    return unit_kernel(jax.random.normal(key, shape))


class UnitConv(nn.Module):
    """Convolution with `width` taps an axis, without bias; a product of matrices where width=1.

    x (B, *space, C) or (B, C). The kernel is divided by its norm for each output whenever it is
    used, and the optimiser keeps it at mean square 1.
    """

    channels: int
    width: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, gain: Array | float = 1.0) -> Array:
        axes = x.ndim - 2 if self.width > 1 else 0
        shape = (*(self.width,) * axes, x.shape[-1], self.channels)
        kernel = self.param(UNIT, _drawn, shape)
        kernel = unit_kernel(kernel) * (gain / math.sqrt(math.prod(shape[:-1])))
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        if not axes:
            return x @ kernel
        return convolution(x, kernel, (1,) * axes, "SAME")


class UnitEmbedding(nn.Module):
    """The noise_cond (B,), as random waves, with a vector (B, W) of any size: (B, channels)."""

    channels: int
    waves: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, noise_cond: Array, vector: Array | None) -> Array:
        emb = UnitConv(self.channels, dtype=self.dtype, name="noise")(
            random_waves(noise_cond, self.waves)
        )
        if vector is not None:
            emb = mixed(emb, unit(vector.astype(self.dtype), -1), 0.5)
        return silu(emb)


class UnitAttention(nn.Module):
    """Attention over all positions by cosines: queries, keys and values have unit size."""

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        channels = x.shape[-1]
        each = channels // self.heads
        h = UnitConv(3 * channels, dtype=self.dtype, name="qkv")(x)
        parts = jnp.split(h.reshape(len(x), -1, 3 * self.heads, each), 3, axis=2)
        q, k, v = (unit(part, -1) for part in parts)
        logits = jnp.einsum("bqhd,bkhd->bhqk", q, k).astype(jnp.float32) / math.sqrt(each)
        weights = jax.nn.softmax(logits).astype(self.dtype)
        h = jnp.einsum("bhqk,bkhd->bqhd", weights, v)
        return UnitConv(channels, dtype=self.dtype, name="proj")(h.reshape(x.shape))


class UnitBlock(nn.Module):
    """0.7 x + 0.3 of two convolutions of x, to unit size, and attention alike where `heads` > 0.

    The embedding multiplies channels by 1 + gain times a projection of it, gain zero at first. On
    the way down (`down`) x itself is brought to unit size at each position. Values end at +-256.
    """

    channels: int
    down: bool
    heads: int = 0
    dropout: float = 0.0
    train: bool = False
    dtype: Any = jnp.float32

    def _conv(self, name: str, width: int = 1) -> UnitConv:
        return UnitConv(self.channels, width, self.dtype, name=name)

    @nn.compact
    def __call__(self, x: Array, emb: Array) -> Array:
        narrow = x
        if x.shape[-1] != self.channels:
            narrow = self._conv("shortcut")(x)
        if self.down:
            x = narrow = unit(narrow, -1)
        h = self._conv("conv1", 3)(silu(x))
        told = self._conv("emb")(emb, self.param("emb_gain", nn.initializers.zeros, ())) + 1
        h = silu(h * jnp.expand_dims(told, range(1, x.ndim - 1)))
        h = Dropout(self.dropout, self.train)(h)
        x = mixed(narrow, self._conv("conv2", 3)(h), 0.3)
        if self.heads:
            x = mixed(x, UnitAttention(self.heads, self.dtype, name="attention")(x), 0.3)
        return jnp.clip(x, -256, 256)
