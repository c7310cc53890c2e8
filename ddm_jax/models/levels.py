"""What U-Nets and their halves share: the embedding of the noise, blocks, and the way down."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.conditions import NO_CONTEXT, Context
from ddm_jax.models.layers import (
    Attention,
    Conv,
    ResBlock,
    ThroughTime,
    kernel_init,
    sinusoidal_embedding,
    zero_init,
)
from ddm_jax.models.resampling import divides
from ddm_jax.models.transformer import grouped, ungrouped


@dataclass(frozen=True)
class Levels:
    """The settings of a network of levels; its methods make modules inside the one that calls.

    A level is `blocks` residual blocks of channels * multiplier channels, followed by attention
    where the first spatial size is one of `attention`. frames: how many elements of a batch in a
    row are the frames of one clip, 0 for none.
    """

    channels: int
    multipliers: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]
    heads: int
    dropout: float
    scale_shift: bool
    resample: str
    dtype: str
    context: Context = NO_CONTEXT
    train: bool = False
    remat: bool = False
    groups: int = 0
    frames: int = 0

    @classmethod
    def of(
        cls,
        net: Any,
        context: Context = NO_CONTEXT,
        train: bool = False,
        *,
        remat: bool = False,
        groups: int = 0,
        frames: int = 0,
    ) -> "Levels":
        """The settings of a network that has fields of these names, in a context."""
        return cls(
            net.channels,
            net.multipliers,
            net.blocks,
            net.attention,
            net.heads,
            net.dropout,
            net.scale_shift,
            net.resample,
            net.dtype,
            context,
            train,
            remat,
            groups,
            frames,
        )

    def check(self, space: tuple[int, ...], patch: int = 1) -> None:
        """Raises ValueError where the settings cannot work on images of size `space`."""
        if not self.multipliers or min(*self.multipliers, self.blocks, patch) < 1:
            raise ValueError("multipliers, blocks and patch must be at least 1")
        if self.channels < 4 or self.channels % 2:
            raise ValueError(f"channels={self.channels}: an even number from 4 on is needed")
        if any(self.channels * m % self.heads for m in self.multipliers):
            raise ValueError(f"heads={self.heads} does not divide the channels of every level")
        if self.groups < 0 or (self.groups and self.channels % self.groups):
            raise ValueError(f"groups={self.groups} does not divide channels={self.channels}")
        if self.resample not in ("conv", "block"):
            raise ValueError(f"resample is 'conv' or 'block', not {self.resample!r}")
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype is 'float32' or 'bfloat16', not {self.dtype!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout lies in [0, 1), not {self.dropout}")
        divides(space, len(self.multipliers) - 1, "multipliers", patch)

    def embed(self, noise_cond: Array) -> Array:
        """The embedding (B, 4 channels) of the noise, to which those of the context's gap, zero at
        first, and its vector are added; of a frame also that of its place in the clip, and what
        two layers make of the sum, as a motion is what place and vector tell together.

        Ho et al. 2020, arXiv:2006.11239; Nichol & Dhariwal 2021, arXiv:2102.09672; Geng et al.
        2025, arXiv:2505.13447, section 4.3.
        """
        dtype = jnp.dtype(self.dtype)

        def dense(name: str, init: Callable = kernel_init) -> nn.Dense:
            return nn.Dense(4 * self.channels, kernel_init=init, dtype=dtype, name=name)

        emb = sinusoidal_embedding(noise_cond, self.channels)
        emb = dense("emb2")(nn.swish(dense("emb1")(emb)))
        if self.context.gap is not None:
            gap = sinusoidal_embedding(self.context.gap, self.channels)
            emb = emb + dense("gap2", zero_init)(nn.swish(dense("gap1")(gap)))
        vector = self.context.vector
        emb = emb if vector is None else emb + vector.astype(dtype)
        if not self.frames:
            return emb
        place = sinusoidal_embedding(jnp.arange(len(emb)) % self.frames, self.channels)
        emb = emb + dense("frame1")(place)
        return emb + dense("frame3")(nn.swish(dense("frame2")(nn.swish(emb))))

    def block(self, h: Array, emb: Array, width: int, name: str, *, resample: str = "") -> Array:
        """A residual block to `width` channels; of clips a convolution through time after it."""
        kind = nn.remat(ResBlock) if self.remat else ResBlock
        dtype = jnp.dtype(self.dtype)
        settings = self.dropout, self.scale_shift, resample, self.train, dtype, self.groups
        h = kind(width, *settings, name=name)(h, emb)
        if not self.frames:
            return h
        return ThroughTime(self.frames, dtype, self.groups, name=f"{name}_time")(h)

    def attend(self, h: Array, name: str) -> Array:
        """Attention over all positions, and over the context's sequence; of clips another one
        over the frames, at each position, after it."""
        how = self.heads, jnp.dtype(self.dtype), self.groups
        h = Attention(*how, name=name)(h, self.context)
        if not self.frames:
            return h
        grid = self.frames, *h.shape[1:-1]
        each = grouped(h.reshape(-1, math.prod(grid), h.shape[-1]), grid, "time")
        through = Attention(*how, name=f"{name}_time")(each)
        return ungrouped(through, grid, "time").reshape(h.shape)

    def down(self, x: Array, emb: Array) -> list[Array]:
        """What comes out of the first convolution, of every block and of every halving, in order.

        The last is the deepest.
        """
        dtype = jnp.dtype(self.dtype)
        seen = [Conv(self.channels, dtype=dtype, name="conv_in")(x)]
        for level, multiplier in enumerate(self.multipliers):
            width, h = self.channels * multiplier, seen[-1]
            for i in range(self.blocks):
                h = self.block(h, emb, width, f"down{level}_block{i}")
                if h.shape[1] in self.attention:
                    h = self.attend(h, f"down{level}_attention{i}")
                seen.append(h)
            if level < len(self.multipliers) - 1:
                name = f"down{level}_resample"
                if self.resample == "block":
                    h = self.block(h, emb, width, name, resample="down")
                else:
                    h = Conv(width, stride=2, dtype=dtype, name=name)(h)
                seen.append(h)
        return seen

    def middle(self, h: Array, emb: Array) -> Array:
        """A block, attention and a block at the lowest size."""
        h = self.block(h, emb, h.shape[-1], "middle_block0")
        h = self.attend(h, "middle_attention")
        return self.block(h, emb, h.shape[-1], "middle_block1")
