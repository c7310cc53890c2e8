"""The U-Net of EDM2, whose layers keep the size of what goes through them."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.conditions import NO_CONTEXT, Context
from ddm_jax.models.magnitude import UnitBlock, UnitConv, UnitEmbedding, joined
from ddm_jax.models.resampling import (
    depth_to_space,
    divides,
    downsample,
    rank_of_patches,
    space_to_depth,
    upsample,
)


class EDM2UNet(nn.Module):
    """F(x, noise_cond, context): (B, *space, C), (B,), Context -> (B, *space, out_channels).

    The defaults are EDM2-XS, 124.7 million parameters on latents of 4 channels: Karras et al. 2023,
    arXiv:2312.02696, config G. `attention` lists the sizes (of the first spatial axis, after
    patching) whose blocks attend, with `head_size` channels a head; `patch` is that of DDPMUNet.
    The noise_cond is told as waves of random frequencies, N(0, 1) turns per unit, so one that moves
    by a few units is wanted: ln_sigma, or time. The context's vector counts as much as the noise.
    The output is float32, and zero at initialisation.

    The published training takes optim.name=adam with lr=1e-2 and a decaying rate, the schedule and
    prediction `edm`, and objective.name=uncertainty.
    """

    out_channels: int
    channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 3, 4)
    blocks: int = 3
    patch: int = 1
    attention: tuple[int, ...] = (16, 8)
    head_size: int = 64
    dropout: float = 0.0
    dtype: str = "float32"

    reads = ("vector",)

    @property
    def width(self) -> int:
        """Elements of the vector of a Context."""
        return self.channels * max(self.multipliers)

    def check(self, space: tuple[int, ...]) -> None:
        """Raises ValueError where the settings cannot work on images of size `space`."""
        if not self.multipliers or min(*self.multipliers, self.blocks, self.patch) < 1:
            raise ValueError("multipliers, blocks and patch must be at least 1")
        if min(self.channels, self.head_size) < 1:
            raise ValueError("channels and head_size must be at least 1")
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype is 'float32' or 'bfloat16', not {self.dtype!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout lies in [0, 1), not {self.dropout}")
        last = len(self.multipliers) - 1
        divides(space, last, "multipliers", self.patch)
        for level, multiplier in enumerate(self.multipliers):
            width = self.channels * multiplier
            attends = level == last or space[0] // self.patch // 2**level in self.attention
            if attends and width % self._each(width):
                raise ValueError(
                    f"head_size={self.head_size} does not divide the {width} channels of blocks "
                    "that attend"
                )

    def rank(self, shape: tuple[int, ...]) -> int:
        """Of how many numbers an output for x, (*space, C), is a function."""
        return rank_of_patches(shape, self.patch, self.channels * self.multipliers[0])

    def _each(self, channels: int) -> int:
        """Channels of a head, where a block has so many."""
        return min(self.head_size, channels)

    @nn.compact
    def __call__(
        self,
        x: Array,
        noise_cond: Array,
        context: Context = NO_CONTEXT,
        train: bool = False,
    ) -> Array:
        dtype = jnp.dtype(self.dtype)
        x = space_to_depth(x.astype(dtype), self.patch)
        waves = self.channels * self.multipliers[0]
        emb = UnitEmbedding(self.width, waves, dtype, name="emb")(noise_cond, context.vector)

        def block(h: Array, width: int, name: str, *, down: bool, attends: bool) -> Array:
            heads = width // self._each(width) if attends else 0
            return UnitBlock(width, down, heads, self.dropout, train, dtype, name=name)(h, emb)

        x = jnp.concatenate([x, jnp.ones_like(x[..., :1])], -1)  # stands for the biases
        h = UnitConv(self.channels * self.multipliers[0], 3, dtype, name="conv_in")(x)
        skips = [h]
        for level, multiplier in enumerate(self.multipliers):
            if level:
                name = f"down{level}_resample"
                h = block(downsample(h), h.shape[-1], name, down=True, attends=False)
                skips.append(h)
            width, attends = self.channels * multiplier, h.shape[1] in self.attention
            for i in range(self.blocks):
                h = block(h, width, f"down{level}_block{i}", down=True, attends=attends)
                skips.append(h)
        h = block(h, h.shape[-1], "middle_block0", down=False, attends=True)
        h = block(h, h.shape[-1], "middle_block1", down=False, attends=False)
        for level, multiplier in reversed(list(enumerate(self.multipliers))):
            if level < len(self.multipliers) - 1:
                name = f"up{level}_resample"
                h = block(upsample(h), h.shape[-1], name, down=False, attends=False)
            width, attends = self.channels * multiplier, h.shape[1] in self.attention
            for i in range(self.blocks + 1):
                h = joined(h, skips.pop())
                h = block(h, width, f"up{level}_block{i}", down=False, attends=attends)
        width = self.out_channels * self.patch ** (x.ndim - 2)
        gain = self.param("out_gain", nn.initializers.zeros, ())
        out = UnitConv(width, 3, jnp.float32, name="conv_out")(h, gain)
        return depth_to_space(out, self.patch)
