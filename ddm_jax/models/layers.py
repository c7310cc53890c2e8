"""Layers of the diffusion U-Nets, for any number of spatial dimensions: x is (B, *space, C)."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.conditions import NO_CONTEXT, Context
from ddm_jax.models.convolution import Convolution
from ddm_jax.models.dropout import Dropout
from ddm_jax.models.reductions import biased, mean, spread
from ddm_jax.models.resampling import downsample, upsample

kernel_init = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")
zero_init = nn.initializers.zeros


def sinusoidal_embedding(noise_cond: Array, channels: int, max_period: float = 10000.0) -> Array:
    """[sin(f_i c), cos(f_i c)], c the noise_cond, f_i = max_period^(-i / (channels/2 - 1)).

    (B,) -> (B, channels), float32. Sines first, half - 1 in the exponent, as in Ho et al. 2020,
    arXiv:2006.11239.
    """
    half = channels // 2
    frequency = jnp.exp(-math.log(max_period) / (half - 1) * jnp.arange(half))
    angle = noise_cond.astype(jnp.float32)[:, None] * frequency
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def frequency_embedding(noise_cond: Array, channels: int, max_frequency: float) -> Array:
    """[sin(2 pi f_i c), cos(2 pi f_i c)], f_i from 1 to max_frequency in even ratios.

    (B,) -> (B, channels), float32; for noise_conds in [0, 1].
    """
    frequency = jnp.geomspace(1.0, max_frequency, channels // 2)
    angle = 2 * jnp.pi * noise_cond.astype(jnp.float32)[:, None] * frequency
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


class Conv(nn.Module):
    """Convolution with 3 (or `width`) taps an axis; `zero` starts it at 0. `enlarge`: of what has
    each position twice along each axis."""

    channels: int
    width: int = 3
    stride: int = 1
    enlarge: bool = False
    zero: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        init = zero_init if self.zero else kernel_init
        settings = self.width, self.stride, self.enlarge, init, self.dtype
        return Convolution(self.channels, *settings, name="conv")(x)


def norm_groups(channels: int) -> int:
    """32 groups of channels, or fewer so that a group has at least 4.

    In a group of one channel the norm would take away the embedding that was just added to it.
    """
    return math.gcd(channels, min(32, max(channels // 4, 1)))


class GroupNorm(nn.Module):
    """(x - mean) / sqrt(variance + 1e-6) within each example and group, then scale and shift.

    x (B, *space, C). Moments are float32, of each channel first and of a group's channels then:
    sums over space alone, which a CPU takes as products (experiments/norm_cost). Wu & He 2018,
    arXiv:1803.08494.
    """

    groups: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))

        def of_groups(means: Array) -> Array:
            means = means.reshape(len(x), self.groups, -1).mean(-1)
            return jnp.repeat(means, channels // self.groups, -1)

        values = x.astype(jnp.float32)
        middle, square = of_groups(mean(values)), of_groups(mean(values**2))
        slope = scale * jax.lax.rsqrt(jnp.maximum(square - middle**2, 0) + 1e-6)
        centred = values - spread(middle, x.shape)
        return biased(spread(slope, x.shape) * centred, bias).astype(self.dtype)


class Norm(nn.Module):
    """GroupNorm of `groups` groups; 0: as many as `norm_groups` says."""

    dtype: jnp.dtype = jnp.float32
    groups: int = 0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        groups = self.groups or norm_groups(x.shape[-1])
        return GroupNorm(groups, self.dtype, name="norm")(x)


class ResBlock(nn.Module):
    """norm, swish, [resample], conv, + embedding, norm, swish, dropout, conv(0), + shortcut.

    `scale_shift` multiplies and shifts the second norm by the embedding instead of adding it
    (Nichol & Dhariwal 2021, arXiv:2102.09672, appendix A). `resample` is "", "up" or "down".
    Without an embedding nothing is added.
    """

    channels: int
    dropout: float = 0.0
    scale_shift: bool = False
    resample: str = ""
    train: bool = False
    dtype: jnp.dtype = jnp.float32
    groups: int = 0

    @nn.compact
    def __call__(self, x: Array, emb: Array | None = None) -> Array:
        size = {"": lambda a: a, "up": upsample, "down": downsample}[self.resample]
        up = self.resample == "up"
        h = nn.swish(Norm(self.dtype, self.groups, name="norm1")(x))
        h = h if up else size(h)
        h = Conv(self.channels, enlarge=up, dtype=self.dtype, name="conv1")(h)
        h = self._told(h, emb)
        h = Dropout(self.dropout, self.train)(nn.swish(h))
        h = Conv(self.channels, zero=True, dtype=self.dtype, name="conv2")(h)
        x = size(x)
        if x.shape[-1] != self.channels:
            x = Conv(self.channels, width=1, dtype=self.dtype, name="shortcut")(x)
        return x + h

    def _told(self, h: Array, emb: Array | None) -> Array:
        """The second norm of h, and the embedding where there is one."""
        norm = Norm(self.dtype, self.groups, name="norm2")
        if emb is None:
            return norm(h)
        width = self.channels * (2 if self.scale_shift else 1)
        told = nn.Dense(width, kernel_init=kernel_init, dtype=self.dtype, name="emb")(nn.swish(emb))
        if not self.scale_shift:
            return norm(h + spread(told, h.shape))
        scale, shift = (spread(a, h.shape) for a in jnp.split(told, 2, axis=-1))
        return norm(h) * (1 + scale) + shift


class Attention(nn.Module):
    """x + proj(softmax(q k^T / sqrt(d)) v) over all positions; the softmax is float32.

    The context's sequence, projected, adds keys and values to those of the positions, as in Nichol
    et al. 2021, arXiv:2112.10741, section 4.1; where its mask is False it has no weight.
    """

    heads: int = 1
    dtype: jnp.dtype = jnp.float32
    groups: int = 0

    @nn.compact
    def __call__(self, x: Array, context: Context = NO_CONTEXT) -> Array:
        channels = x.shape[-1]

        def dense(name: str, init: Callable[..., Array] = kernel_init) -> nn.Dense:
            return nn.Dense(channels, kernel_init=init, dtype=self.dtype, name=name)

        def split(a: Array) -> Array:
            return a.reshape(*a.shape[:-1], self.heads, channels // self.heads)

        h = Norm(self.dtype, self.groups, name="norm")(x).reshape(x.shape[0], -1, channels)
        q, k, v = (split(dense(name)(h)) for name in ("q", "k", "v"))
        there = None
        if context.sequence is not None:
            told = context.sequence.astype(self.dtype)
            more_k, more_v = (split(dense(f"{name}_context")(told)) for name in ("k", "v"))
            mask = jnp.ones(told.shape[:2], bool) if context.mask is None else context.mask
            there = jnp.concatenate([jnp.ones(h.shape[:2], bool), mask], 1)[:, None, None]
            k, v = jnp.concatenate([k, more_k], 1), jnp.concatenate([v, more_v], 1)
        logits = jnp.einsum("bqhd,bkhd->bhqk", q, k).astype(jnp.float32)
        logits = logits / math.sqrt(channels // self.heads)
        weights = jax.nn.softmax(logits, where=there).astype(self.dtype)
        h = jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(x.shape[0], -1, channels)
        return x + dense("proj", zero_init)(h).reshape(x.shape)


class ThroughTime(nn.Module):
    """x + conv(0)(swish(norm(x))), three taps along the frames of a clip at each position.

    x (B frames, *space, C) holds the frames of B clips in a row; before the first one and after the
    last one there is 0. Singer et al. 2022, arXiv:2209.14792, section 3.2.1.
    """

    frames: int
    dtype: jnp.dtype = jnp.float32
    groups: int = 0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        h = nn.swish(Norm(self.dtype, self.groups, name="norm")(x))
        clips = h.reshape(-1, self.frames, *h.shape[1:])
        wide = jnp.pad(clips, [(0, 0), (1, 1), *[(0, 0)] * (h.ndim - 1)])
        taps = jnp.concatenate([wide[:, k : k + self.frames] for k in range(3)], -1)
        conv = nn.Dense(x.shape[-1], kernel_init=zero_init, dtype=self.dtype, name="conv")
        return x + conv(taps).reshape(x.shape)
