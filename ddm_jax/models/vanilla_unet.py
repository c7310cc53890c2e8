"""The plain U-Net of segmentation, as texts on diffusion start from."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.conditions import NO_CONTEXT, Context
from ddm_jax.models.convolution import Convolution
from ddm_jax.models.dropout import Dropout
from ddm_jax.models.layers import sinusoidal_embedding
from ddm_jax.models.resampling import divides, pool_max, rank_of_patches

he_init = nn.initializers.he_normal()


class VanillaUNet(nn.Module):
    """F(x, noise_cond): (B, *space, C), (B,) -> (B, *space, out_channels).

    Each level is two convolutions of 3 taps with swish; max-pooling and dropout lead down,
    a transposed convolution, the skip connection and dropout lead up, a linear convolution of 1
    tap leads out. Ronneberger et al. 2015, arXiv:1505.04597, with sizes kept by padding. With
    `noise_level` each level adds a projection of the noise_cond's sinusoidal embedding (Ho et al.
    2020, arXiv:2006.11239); without it the network has to read the noise level off the image.
    """

    out_channels: int
    channels: tuple[int, ...] = (64, 128, 256, 512, 1024)
    dropout: float = 0.1
    noise_level: bool = False

    reads = ()
    width = 0
    dtype = "float32"

    def check(self, space: tuple[int, ...]) -> None:
        """Raises ValueError where the settings cannot work on images of size `space`."""
        if not self.channels or min(self.channels) < 1:
            raise ValueError(f"channels={self.channels}: one positive number a level is needed")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout lies in [0, 1), not {self.dropout}")
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

        def conv(h: Array, width: int, name: str) -> Array:
            return Convolution(width, kernel_init=he_init, name=name)(h)

        def level(h: Array, width: int, name: str) -> Array:
            h = nn.swish(conv(h, width, f"{name}_conv0"))
            if self.noise_level:
                emb = nn.Dense(width, name=f"{name}_noise")(embedding)
                h = h + emb.reshape(-1, *(1,) * space, width)
            return nn.swish(conv(h, width, f"{name}_conv1"))

        def drop(h: Array) -> Array:
            return Dropout(self.dropout, train)(h)

        embedding = sinusoidal_embedding(noise_cond, 128)
        h, skips = x, []
        *outer, deepest = self.channels
        for i, width in enumerate(outer):
            h = level(h, width, f"down{i}")
            skips.append(h)
            h = drop(pool_max(h))
        h = level(h, deepest, "middle")
        for i, width in reversed(list(enumerate(outer))):
            two = (2,) * space
            h = nn.ConvTranspose(width, two, two, kernel_init=he_init, name=f"up{i}_resample")(h)
            h = drop(jnp.concatenate([h, skips.pop()], -1))
            h = level(h, width, f"up{i}")
        return Convolution(self.out_channels, 1, name="out")(h)
