"""The U-Net of Ho et al. 2020 with the options that later work added."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from ddm_jax.models.layers import (
    Attention,
    Conv,
    Norm,
    ResBlock,
    depth_to_space,
    divides,
    kernel_init,
    sinusoidal_embedding,
    space_to_depth,
    upsample,
)


class DDPMUNet(nn.Module):
    """F(x, noise_cond, cond): (B, *space, C), (B,), (B,) int or None -> (B, *space, out_channels).

    The defaults are the published CIFAR-10 network, 35,746,307 parameters for 3 channels: Ho et
    al. 2020, arXiv:2006.11239, appendix B. `attention` lists the sizes (of the first spatial
    axis, after patching) at which blocks are followed by attention. `patch` folds blocks of pixels
    into channels at the input and back at the output (Hoogeboom et al. 2023, arXiv:2301.11093),
    for speed. `resample` is "conv" (strided convolution
    down, nearest neighbour and convolution up) or "block" (in a residual block, as BigGAN).
    `conditional` adds a class embedding to the noise embedding; class `classes` is the null
    class. `remat` recomputes blocks in the backward pass to save memory. The output is float32,
    and zero at initialisation.
    """

    out_channels: int
    classes: int
    channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    blocks: int = 2
    patch: int = 1
    attention: tuple[int, ...] = (16,)
    heads: int = 1
    dropout: float = 0.1
    scale_shift: bool = False
    resample: str = "conv"
    conditional: bool = False
    dtype: str = "float32"
    remat: bool = False

    def check(self, space: tuple[int, ...]) -> None:
        """Raises ValueError where the settings cannot work on images of size `space`."""
        if not self.multipliers or min(*self.multipliers, self.blocks, self.patch) < 1:
            raise ValueError("multipliers, blocks and patch must be at least 1")
        if self.channels < 4 or self.channels % 2:
            raise ValueError(f"channels={self.channels}: an even number from 4 on is needed")
        if any(self.channels * m % self.heads for m in self.multipliers):
            raise ValueError(f"heads={self.heads} does not divide the channels of every level")
        if self.resample not in ("conv", "block"):
            raise ValueError(f"resample is 'conv' or 'block', not {self.resample!r}")
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype is 'float32' or 'bfloat16', not {self.dtype!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout lies in [0, 1), not {self.dropout}")
        if self.conditional and not self.classes:
            raise ValueError("conditional=True needs data with classes; set it to False")
        divides(space, len(self.multipliers) - 1, "multipliers", self.patch)

    @nn.compact
    def __call__(self, x: Array, noise_cond: Array, cond: Array | None = None, train: bool = False):
        dtype = jnp.dtype(self.dtype)
        levels = range(len(self.multipliers))
        block_class = nn.remat(ResBlock) if self.remat else ResBlock

        def block(h, width, name, resample=""):
            return block_class(
                width, self.dropout, self.scale_shift, resample, train, dtype, name=name
            )(h, emb)

        def attend(h, name):
            return Attention(self.heads, dtype, name=name)(h)

        def dense(name):
            return nn.Dense(4 * self.channels, kernel_init=kernel_init, dtype=dtype, name=name)

        emb = sinusoidal_embedding(noise_cond, self.channels)
        emb = dense("emb2")(nn.swish(dense("emb1")(emb)))
        if self.conditional:
            if cond is None:
                cond = jnp.full(x.shape[:1], self.classes)
            table = nn.Embed(self.classes + 1, 4 * self.channels, dtype=dtype, name="classes")
            emb = emb + table(cond)

        x = space_to_depth(x.astype(dtype), self.patch)
        h = Conv(self.channels, dtype=dtype, name="conv_in")(x)
        skips = [h]
        for level in levels:
            width = self.channels * self.multipliers[level]
            for i in range(self.blocks):
                h = block(h, width, f"down{level}_block{i}")
                if h.shape[1] in self.attention:
                    h = attend(h, f"down{level}_attention{i}")
                skips.append(h)
            if level < levels[-1]:
                name = f"down{level}_resample"
                if self.resample == "block":
                    h = block(h, width, name, "down")
                else:
                    h = Conv(width, stride=2, dtype=dtype, name=name)(h)
                skips.append(h)

        h = block(h, h.shape[-1], "middle_block0")
        h = attend(h, "middle_attention")
        h = block(h, h.shape[-1], "middle_block1")

        for level in reversed(levels):
            width = self.channels * self.multipliers[level]
            for i in range(self.blocks + 1):
                h = block(jnp.concatenate([h, skips.pop()], -1), width, f"up{level}_block{i}")
                if h.shape[1] in self.attention:
                    h = attend(h, f"up{level}_attention{i}")
            if level > 0:
                name = f"up{level}_resample"
                if self.resample == "block":
                    h = block(h, width, name, "up")
                else:
                    h = Conv(width, dtype=dtype, name=name)(upsample(h))

        h = nn.swish(Norm(dtype, name="norm_out")(h))
        width = self.out_channels * self.patch ** (x.ndim - 2)
        out = Conv(width, zero=True, dtype=jnp.float32, name="conv_out")(h)
        return depth_to_space(out, self.patch)
