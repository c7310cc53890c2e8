"""The diffusion transformer, for data of any number of spatial dimensions."""

from dataclasses import dataclass
from typing import Literal, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.nn.initializers import Initializer

from ddm_jax.diffusion.conditions import NO_CONTEXT, Context
from ddm_jax.models.layers import (
    depth_to_space,
    kernel_init,
    sinusoidal_embedding,
    space_to_depth,
    zero_init,
)
from ddm_jax.models.positions import places, sines_and_cosines, turned

POSITIONS = ("sincos", "rope", "none")
KERNELS = ("xla", "cudnn")
_FREQUENCIES = 256  # elements of the embedding of the noise before it is mapped


@dataclass(frozen=True)
class Settings:
    """What all blocks of a network share.

    grid: of the tokens, by whose places queries are turned; () for no turn. train: whether dropout
    acts.
    """

    heads: int
    dropout: float
    qk_norm: bool
    kernel: str
    dtype: jnp.dtype
    grid: tuple[int, ...] = ()
    train: bool = False


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
        if s.grid:
            q, k = (turned(a, places(s.grid)).astype(s.dtype) for a in (q, k))
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
        normed = modulated(h, shift1, scale1)
        h = h + gate1[:, None] * Attend(s, name="attention")(normed, normed)
        if context.sequence is not None:
            across = Settings(s.heads, s.dropout, s.qk_norm, s.kernel, s.dtype)
            told = context.sequence.astype(s.dtype)
            h = h + Attend(across, zero=True, name="across")(h, told, context.mask)
        wide = nn.gelu(dense(self.ratio * channels, "wide")(modulated(h, shift2, scale2)))
        wide = nn.Dropout(s.dropout, deterministic=not s.train)(wide)
        return h + gate2[:, None] * dense(channels, "narrow")(wide)


class DiT(nn.Module):
    """F(x, noise_cond, context): (B, *space, C), (B,), Context -> (B, *space, out_channels).

    Blocks of `patch` cells an axis are tokens of `channels` elements, on which `depth` transformer
    blocks work. The defaults are DiT-S/2, 32.5 million parameters on latents of 4 channels with a
    learned variance, beside the table of classes: Peebles & Xie 2022, arXiv:2212.09748. The
    context's vector, of `width` elements, and an embedding of its gap, zero at first, are added to
    the embedding of the noise, and its sequence attended to. `position`: sincos adds sines and
    cosines of a token's place, rope turns queries and keys by it, none tells no place. `skips`:
    what comes out of block i is put beside what goes into block depth - 1 - i, and both are mapped
    to `channels`; Bao et al. 2022, arXiv:2209.12152. `remat`: blocks are computed again in the
    backward pass. `kernel`: xla or cudnn, see Attend. The output is float32, and zero at
    initialisation.
    """

    out_channels: int
    channels: int = 384
    depth: int = 12
    heads: int = 6
    patch: int = 2
    ratio: int = 4
    position: str = "sincos"
    qk_norm: bool = False
    skips: bool = False
    dropout: float = 0.0
    dtype: str = "float32"
    remat: bool = False
    kernel: str = "xla"

    reads = ("vector", "sequence", "mask", "gap")

    @property
    def width(self) -> int:
        """Elements of the vector of a Context."""
        return self.channels

    def check(self, space: tuple[int, ...]) -> None:
        """Raises ValueError where the settings cannot work on data of size `space`."""
        axes = max(1, len(space))
        if min(self.channels, self.depth, self.heads, self.patch, self.ratio) < 1:
            raise ValueError("channels, depth, heads, patch and ratio must be at least 1")
        if self.channels % self.heads:
            raise ValueError(f"heads={self.heads} does not divide channels={self.channels}")
        for name, given, known in (
            ("position", self.position, POSITIONS),
            ("kernel", self.kernel, KERNELS),
            ("dtype", self.dtype, ("float32", "bfloat16")),
        ):
            if given not in known:
                raise ValueError(f"{name} is one of {', '.join(known)}, not {given!r}")
        if self.kernel == "cudnn" and self.dtype == "float32":
            raise ValueError("kernel=cudnn is for half precision; set dtype=bfloat16")
        if self.position == "sincos" and self.channels % (2 * axes):
            raise ValueError(f"channels={self.channels} must divide by {2 * axes} for sincos")
        if self.position == "rope" and self.channels // self.heads < 2 * axes:
            raise ValueError(f"rope needs heads of at least {2 * axes} channels")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout lies in [0, 1), not {self.dropout}")
        if any(size % self.patch for size in space):
            shape = "x".join(map(str, space))
            raise ValueError(
                f"data of {shape} do not divide into patches of {self.patch}; set model.dit.patch "
                "to what divides it"
            )

    @nn.compact
    def __call__(
        self,
        x: Array,
        noise_cond: Array,
        context: Context = NO_CONTEXT,
        train: bool = False,
    ) -> Array:
        dtype, axes = jnp.dtype(self.dtype), x.ndim - 2

        def dense(width: int, name: str, init: Initializer = kernel_init) -> nn.Dense:
            return nn.Dense(width, kernel_init=init, dtype=dtype, name=name)

        emb = dense(self.channels, "emb1")(sinusoidal_embedding(noise_cond, _FREQUENCIES))
        emb = dense(self.channels, "emb2")(nn.swish(emb))
        if context.gap is not None:
            gap = dense(self.channels, "gap1")(sinusoidal_embedding(context.gap, _FREQUENCIES))
            emb = emb + dense(self.channels, "gap2", zero_init)(nn.swish(gap))
        if context.vector is not None:
            emb = emb + context.vector.astype(dtype)
        x = space_to_depth(x.astype(dtype), self.patch)
        grid = x.shape[1:-1]
        h = dense(self.channels, "patches")(x.reshape(len(x), -1, x.shape[-1]))
        if self.position == "sincos" and axes:
            h = h + jnp.asarray(sines_and_cosines(grid, self.channels), dtype)
        turns = grid if self.position == "rope" else ()
        how = self.heads, self.dropout, self.qk_norm, self.kernel, dtype, turns, train
        block, seen = nn.remat(Block) if self.remat else Block, []
        half = (self.depth - 1) // 2 if self.skips else 0
        for i in range(self.depth):
            if i >= self.depth - half:
                h = dense(self.channels, f"skip{i}")(jnp.concatenate([h, seen.pop()], -1))
            h = block(Settings(*how), self.ratio, name=f"block{i}")(h, emb, context)
            if i < half:
                seen.append(h)
        last = nn.Dense(2 * self.channels, kernel_init=zero_init, dtype=dtype, name="modulation")
        h = modulated(h, *jnp.split(last(nn.swish(emb)), 2, -1))
        size = self.out_channels * self.patch**axes
        out = nn.Dense(size, kernel_init=zero_init, dtype=jnp.float32, name="out")(h)
        return depth_to_space(out.reshape(len(x), *grid, size), self.patch)
