"""A multilayer perceptron of residual blocks, for data without positions."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.diffusion.conditions import NO_CONTEXT, Context
from ddm_jax.models.dropout import Dropout
from ddm_jax.models.layers import kernel_init, sinusoidal_embedding, zero_init


class ResidualMLP(nn.Module):
    """F(x, noise_cond, context): (B, *space, C), (B,), Context -> (B, *space, out_channels).

    All values of an example are one vector. `depth` blocks h + W_2 swish(W_1 (n(h) (1 + a) + b)),
    n a layer norm and (a, b) an affine map of the embedding, work on `channels` elements; the
    embedding is that of the noise_cond, to which the context's vector and that of its gap, zero at
    first, are added. W_2 and the output are zero at initialisation. The layers are those of
    `layers.ResBlock` with scale and shift, dense instead of convolutions.
    """

    out_channels: int
    channels: int = 128
    depth: int = 3
    dropout: float = 0.0

    reads = ("vector", "gap")
    dtype = "float32"

    @property
    def width(self) -> int:
        """Elements of the vector of a Context."""
        return self.channels

    def check(self, space: tuple[int, ...]) -> None:
        """Raises ValueError where the settings cannot work."""
        if self.channels < 4 or self.channels % 2:
            raise ValueError(f"channels={self.channels}: an even number from 4 on is needed")
        if self.depth < 1:
            raise ValueError(f"depth={self.depth}: at least one block is needed")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout lies in [0, 1), not {self.dropout}")

    def rank(self, shape: tuple[int, ...]) -> int:
        """Of how many numbers an output for x, (*space, C), is a function."""
        return min(int(np.prod(shape)), self.channels)

    @nn.compact
    def __call__(
        self,
        x: Array,
        noise_cond: Array,
        context: Context = NO_CONTEXT,
        train: bool = False,
    ) -> Array:
        def dense(width: int, name: str, zero: bool = False) -> nn.Dense:
            return nn.Dense(width, kernel_init=zero_init if zero else kernel_init, name=name)

        shape = *x.shape[:-1], self.out_channels
        emb = dense(self.channels, "emb1")(sinusoidal_embedding(noise_cond, self.channels))
        emb = dense(self.channels, "emb2")(nn.swish(emb))
        if context.gap is not None:
            gap = dense(self.channels, "gap1")(sinusoidal_embedding(context.gap, self.channels))
            emb = emb + dense(self.channels, "gap2", zero=True)(nn.swish(gap))
        if context.vector is not None:
            emb = emb + context.vector
        emb = nn.swish(emb)
        h = dense(self.channels, "in")(x.reshape(len(x), -1))
        for i in range(self.depth):
            scale, shift = jnp.split(dense(2 * self.channels, f"emb_block{i}")(emb), 2, -1)
            normed = nn.LayerNorm(use_bias=False, use_scale=False)(h)
            r = nn.swish(dense(self.channels, f"wide{i}")(normed * (1 + scale) + shift))
            r = Dropout(self.dropout, train)(r)
            h = h + dense(self.channels, f"narrow{i}", zero=True)(r)
        size = int(np.prod(shape[1:]))
        return dense(size, "out", zero=True)(nn.swish(h)).reshape(shape)
