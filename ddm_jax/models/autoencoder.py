"""Networks that make examples small and large again: the table of autoencoders."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from ddm_jax.models.layers import Attention, Conv, Norm, ResBlock
from ddm_jax.models.resampling import divides


class Half(nn.Module):
    """What both halves of an autoencoder have: blocks, the middle, and the last convolution.

    widths: the channels of each level, from the full size to the lowest.
    """

    out: int
    widths: tuple[int, ...]
    blocks: int
    attention: bool
    heads: int
    dtype: jnp.dtype

    def level(self, h: Array, level: int) -> Array:
        """The residual blocks of a level."""
        for i in range(self.blocks):
            h = ResBlock(self.widths[level], dtype=self.dtype, name=f"level{level}_block{i}")(h)
        return h

    def middle(self, h: Array) -> Array:
        """A block, attention over all positions and a block, at the lowest size."""
        h = ResBlock(self.widths[-1], dtype=self.dtype, name="middle_block0")(h)
        if self.attention:
            h = Attention(self.heads, self.dtype, name="middle_attention")(h)
        return ResBlock(self.widths[-1], dtype=self.dtype, name="middle_block1")(h)

    def end(self, h: Array) -> Array:
        """To `out` channels, float32."""
        h = nn.swish(Norm(self.dtype, name="norm_out")(h))
        return Conv(self.out, dtype=self.dtype, name="conv_out")(h).astype(jnp.float32)


class Encoder(Half):
    """(B, *space, C) -> (B, *lowest, out): levels with a strided convolution between them."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        h = Conv(self.widths[0], dtype=self.dtype, name="conv_in")(x.astype(self.dtype))
        for level, width in enumerate(self.widths):
            if level:
                h = Conv(width, stride=2, dtype=self.dtype, name=f"level{level}_down")(h)
            h = self.level(h, level)
        return self.end(self.middle(h))


class Decoder(Half):
    """(B, *lowest, C) -> (B, *space, out): levels with nearest neighbours and a convolution between
    them."""

    @nn.compact
    def __call__(self, z: Array) -> Array:
        h = Conv(self.widths[-1], dtype=self.dtype, name="conv_in")(z.astype(self.dtype))
        h = self.middle(h)
        for level, width in reversed(list(enumerate(self.widths))):
            h = self.level(h, level)
            if level:
                h = Conv(width, enlarge=True, dtype=self.dtype, name=f"level{level}_up")(h)
        return self.end(h)


class ConvAutoencoder(nn.Module):
    """Convolutions to `latent` channels at 1 / 2^(levels - 1) of the size, and back.

    Residual blocks with GroupNorm, attention in the middle, any number of spatial dimensions.
    Rombach et al. 2022, arXiv:2112.10752, appendix G. `encode` gives `factor` numbers for each
    number of the latents. pad: pixels that the edges are repeated by on every side, and that are
    cut off again, for sizes that do not divide. out_channels: those of an example.
    """

    out_channels: int
    factor: int
    channels: int = 64
    multipliers: tuple[int, ...] = (1, 2, 2)
    blocks: int = 1
    latent: int = 4
    pad: int = 0
    attention: bool = True
    heads: int = 1
    dtype: str = "float32"

    def setup(self) -> None:
        widths = tuple(self.channels * m for m in self.multipliers)
        how = widths, self.blocks, self.attention, self.heads, jnp.dtype(self.dtype)
        self.encoder = Encoder(self.factor * self.latent, *how)
        self.decoder = Decoder(self.out_channels, *how)

    def check(self, space: tuple[int, ...]) -> None:
        """Raises ValueError where the settings cannot work on examples of size `space`."""
        if not self.multipliers or min(*self.multipliers, self.blocks, self.latent) < 1:
            raise ValueError("multipliers, blocks and latent must be at least 1")
        if self.channels < 4 or self.pad < 0:
            raise ValueError("channels must be at least 4, and pad at least 0")
        if self.attention and self.channels * self.multipliers[-1] % self.heads:
            raise ValueError(f"heads={self.heads} does not divide the channels of the last level")
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype is 'float32' or 'bfloat16', not {self.dtype!r}")
        padded = tuple(size + 2 * self.pad for size in space)
        divides(padded, len(self.multipliers) - 1, "multipliers")

    def shape(self, space: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the latents of an example of size `space`."""
        unit = 2 ** (len(self.multipliers) - 1)
        return *((size + 2 * self.pad) // unit for size in space), self.latent

    def encode(self, x: Array) -> Array:
        """(B, *space, C) -> (B, *lowest, factor latent), float32."""
        around = ((self.pad, self.pad),) * (x.ndim - 2)
        return self.encoder(jnp.pad(x, ((0, 0), *around, (0, 0)), "edge"))

    def decode(self, z: Array) -> Array:
        """(B, *lowest, latent) -> (B, *space, out_channels), float32."""
        x = self.decoder(z)
        inner = (slice(self.pad, size - self.pad) for size in x.shape[1:-1])
        return x[:, *inner]

    def __call__(self, x: Array) -> Array:
        """There and back, by the first of the numbers that the encoder gives."""
        return self.decode(self.encode(x)[..., : self.latent])


AUTOENCODERS = {"conv": ConvAutoencoder}
