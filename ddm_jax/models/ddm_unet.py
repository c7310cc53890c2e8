"""The residual U-Net of the continuous-rate model, which sees its noise variance as a map."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.conditions import NO_CONTEXT, Context
from ddm_jax.models.convolution import Convolution
from ddm_jax.models.layers import Norm, frequency_embedding, zero_init
from ddm_jax.models.resampling import divides, downsample, rank_of_patches


class DDMUNet(nn.Module):
    """F(x, noise_cond): (B, *space, C), (B,) -> (B, *space, out_channels).

    The noise_cond, meant to be the noise variance in [0, 1], becomes sines and cosines of
    `embedding` channels at frequencies from 1 to `max_frequency`, spread over the image and joined
    to it. Each level down holds `depth` residual blocks and a mean pooling, each level up a linear
    resize and `depth` blocks, each joined by the block's mirror image. The output is zero at
    initialisation.
    Béres 2022, "Denoising Diffusion Implicit Models", keras.io/examples/generative/ddim; there
    the blocks begin with batch normalisation, here with group normalisation, so that an image
    depends on itself alone.
    """

    out_channels: int
    channels: tuple[int, ...] = (32, 64, 96, 128)
    depth: int = 2
    embedding: int = 32
    max_frequency: float = 1000.0

    reads = ()
    width = 0
    dtype = "float32"
    dropout = 0.0

    def check(self, space: tuple[int, ...]) -> None:
        """Raises ValueError where the settings cannot work on images of size `space`."""
        if not self.channels or min(*self.channels, self.depth) < 1:
            raise ValueError("channels and depth must be at least 1")
        if self.embedding < 4 or self.embedding % 2:
            raise ValueError(f"embedding={self.embedding}: an even number from 4 on is needed")
        divides(space, len(self.channels) - 1, "channels")

    def rank(self, shape: tuple[int, ...]) -> int:
        """Of how many numbers an output for x, (*space, C), is a function."""
        return rank_of_patches(shape, 1, self.channels[0])

    @nn.compact
    def __call__(
        self,
        x: Array,
        noise_cond: Array,
        context: Context = NO_CONTEXT,
        train: bool = False,
    ) -> Array:
        space = x.ndim - 2

        def conv(h: Array, width: int, taps: int, name: str) -> Array:
            return Convolution(width, taps, name=name)(h)

        def block(h: Array, width: int, name: str) -> Array:
            residual = h if h.shape[-1] == width else conv(h, width, 1, f"{name}_shortcut")
            h = Norm(name=f"{name}_norm")(h)
            h = nn.swish(conv(h, width, 3, f"{name}_conv0"))
            return residual + conv(h, width, 3, f"{name}_conv1")

        noise = frequency_embedding(noise_cond, self.embedding, self.max_frequency)
        noise = noise.reshape(-1, *(1,) * space, self.embedding)
        noise = jnp.broadcast_to(noise, (*x.shape[:-1], self.embedding))
        *outer, deepest = self.channels
        h, skips = jnp.concatenate([conv(x, self.channels[0], 1, "conv_in"), noise], -1), []
        for i, width in enumerate(outer):
            for k in range(self.depth):
                h = block(h, width, f"down{i}_block{k}")
                skips.append(h)
            h = downsample(h)
        for k in range(self.depth):
            h = block(h, deepest, f"middle_block{k}")
        for i, width in reversed(list(enumerate(outer))):
            h = jax.image.resize(h, (*skips[-1].shape[:-1], h.shape[-1]), "linear")
            for k in range(self.depth):
                h = block(jnp.concatenate([h, skips.pop()], -1), width, f"up{i}_block{k}")
        return Convolution(self.out_channels, 1, kernel_init=zero_init, name="conv_out")(h)
