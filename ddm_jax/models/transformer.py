"""Blocks of a transformer whose norms are told the noise, and which tokens attend to each other."""

import math
from dataclasses import dataclass
from typing import Literal, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.conditions import Context
from ddm_jax.models.dropout import Dropout
from ddm_jax.models.layers import kernel_init, zero_init
from ddm_jax.models.positions import places, turned


@dataclass(frozen=True)
class Settings:
    """What a block is told of its network.

    grid: of the tokens, (T, ...). over: which of them attend to each other, see `grouped`. rope:
    whether queries are turned by their places. train: whether dropout acts.
    """

    heads: int
    dropout: float
    qk_norm: bool
    kernel: str
    dtype: jnp.dtype
    grid: tuple[int, ...] = ()
    over: str = "all"
    rope: bool = False
    train: bool = False

    @property
    def group(self) -> tuple[int, ...]:
        """The grid of the tokens that attend to each other."""
        return {"all": self.grid, "space": self.grid[1:], "time": self.grid[:1]}[self.over]


def grouped(h: Array, grid: tuple[int, ...], over: str) -> Array:
    """Tokens h (B, N, D) of a grid (T, ...) in groups (B', N', D) that attend to each other.

    over: all; space, those of one place on the first axis, as a frame of a clip; or time, those
    that differ in it alone.
    """
    if over == "all":
        return h
    h = h.reshape(len(h), grid[0], -1, h.shape[-1])
    h = h if over == "space" else h.swapaxes(1, 2)
    return h.reshape(-1, *h.shape[2:])


def ungrouped(h: Array, grid: tuple[int, ...], over: str) -> Array:
    """The tokens (B, N, D) of groups (B', N', D)."""
    if over == "all":
        return h
    size = math.prod(grid)
    h = h.reshape(-1, size // h.shape[1], *h.shape[1:])
    h = h if over == "space" else h.swapaxes(1, 2)
    return h.reshape(len(h), size, h.shape[-1])


def modulated(h: Array, shift: Array, scale: Array) -> Array:
    """n(h) (1 + scale) + shift, n the layer norm without parameters; h (B, N, D), others (B, D)."""
    normed = nn.LayerNorm(epsilon=1e-6, use_bias=False, use_scale=False, dtype=h.dtype)(h)
    return normed * (1 + scale[:, None]) + shift[:, None]


class Attend(nn.Module):
    """softmax(q k^T / sqrt(d)) v: queries of h (B, N, D), keys and values of `of` (B, M, D').

    mask: (B, M) bool, True for what has weight. With qk_norm queries and keys are divided by the
    root of their mean square, Henry et al. 2020, arXiv:2010.04245. `zero` starts the output at 0.
    The softmax is float32. The kernel of cuDNN is for half precision, and has no derivatives in
    forward mode.
    """

    settings: Settings
    zero: bool = False

    @nn.compact
    def __call__(self, h: Array, of: Array, mask: Array | None = None) -> Array:
        s, channels = self.settings, h.shape[-1]

        def split(name: str, a: Array) -> Array:
            a = nn.Dense(channels, kernel_init=kernel_init, dtype=s.dtype, name=name)(a)
            return a.reshape(*a.shape[:-1], s.heads, channels // s.heads)

        q, k, v = split("q", h), split("k", of), split("v", of)
        if s.qk_norm:
            q, k = (
                nn.RMSNorm(epsilon=1e-6, dtype=s.dtype, name=f"{name}_norm")(a)
                for name, a in (("q", q), ("k", k))
            )
        if s.rope:
            q, k = (turned(a, places(s.group)).astype(s.dtype) for a in (q, k))
        there = None if mask is None else mask[:, None, None]
        kernel = cast(Literal["xla", "cudnn"], s.kernel)
        out = jax.nn.dot_product_attention(q, k, v, mask=there, implementation=kernel)
        init = zero_init if self.zero else kernel_init
        proj = nn.Dense(channels, kernel_init=init, dtype=s.dtype, name="proj")
        return proj(out.reshape(h.shape))


class Block(nn.Module):
    """h + g_1 attention(m_1(h)), + attention to the context's sequence, + g_2 MLP(m_2(h)).

    m is `modulated`; its shifts and scales, and the gates g, are an affine map of the embedding
    (B, D) that starts at 0, so that a block starts as the identity (adaLN-Zero). Attention to the
    sequence starts at 0 too; Chen et al. 2023, arXiv:2310.00426, section 2.3.
    """

    settings: Settings
    ratio: int

    @nn.compact
    def __call__(self, h: Array, emb: Array, context: Context) -> Array:
        s, channels = self.settings, h.shape[-1]

        def dense(width: int, name: str, zero: bool = False) -> nn.Dense:
            init = zero_init if zero else kernel_init
            return nn.Dense(width, kernel_init=init, dtype=s.dtype, name=name)

        parts = jnp.split(dense(6 * channels, "modulation", zero=True)(nn.swish(emb)), 6, -1)
        shift1, scale1, gate1, shift2, scale2, gate2 = parts
        normed = grouped(modulated(h, shift1, scale1), s.grid, s.over)
        seen = Attend(s, name="attention")(normed, normed)
        h = h + gate1[:, None] * ungrouped(seen, s.grid, s.over)
        if context.sequence is not None:
            across = Settings(s.heads, s.dropout, s.qk_norm, s.kernel, s.dtype)
            told = context.sequence.astype(s.dtype)
            h = h + Attend(across, zero=True, name="across")(h, told, context.mask)
        wide = nn.gelu(dense(self.ratio * channels, "wide")(modulated(h, shift2, scale2)))
        wide = Dropout(s.dropout, s.train)(wide)
        return h + gate2[:, None] * dense(channels, "narrow")(wide)
