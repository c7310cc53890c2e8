"""Networks that tell classes: the table of classifiers."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.conditions import NO_CONTEXT
from ddm_jax.models.layers import Norm, kernel_init
from ddm_jax.models.levels import Levels
from ddm_jax.models.resampling import space_to_depth


class AttentionPool(nn.Module):
    """All positions to one vector: attention asked by their mean, which is a position too.

    Learned embeddings tell the positions apart. Radford et al. 2021, arXiv:2103.00020, section 2.4.
    """

    heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, *space, C) -> (B, C), float32."""
        h = x.reshape(len(x), -1, x.shape[-1])
        h = jnp.concatenate([h.mean(1, keepdims=True), h], 1)
        normal = nn.initializers.normal(x.shape[-1] ** -0.5)
        h = h + self.param("place", normal, h.shape[1:]).astype(h.dtype)
        attend = nn.MultiHeadDotProductAttention(
            self.heads,
            dtype=self.dtype,
            kernel_init=kernel_init,
            force_fp32_for_softmax=True,
            name="attention",
        )
        return attend(h[:, :1], h)[:, 0].astype(jnp.float32)


class UNetEncoder(nn.Module):
    """log p(y | x, noise) up to a constant: (B, *space, C), (B,) -> (B, classes), float32.

    The way down and the middle of a U-Net, and attention pooling. The noise_cond enters as in the
    U-Net, and `patch` folds blocks of pixels into channels, as there. The output is zero at
    initialisation. Dhariwal & Nichol 2021, arXiv:2105.05233, section 4 and appendix H.
    """

    classes: int
    channels: int = 32
    multipliers: tuple[int, ...] = (1, 2)
    blocks: int = 1
    patch: int = 1
    attention: tuple[int, ...] = ()
    heads: int = 4
    dropout: float = 0.1
    scale_shift: bool = True
    resample: str = "conv"
    dtype: str = "float32"

    def check(self, space: tuple[int, ...]) -> None:
        """Raises ValueError where the settings cannot work on examples of size `space`."""
        Levels.of(self).check(space, self.patch)

    def __call__(self, x: Array, noise_cond: Array, train: bool = False) -> Array:
        return self.both(x, noise_cond, train)[1]

    @nn.compact
    def both(self, x: Array, noise_cond: Array, train: bool = False) -> tuple[Array, Array]:
        """(what the last layer reads (B, d), its output (B, classes))."""
        dtype, levels = jnp.dtype(self.dtype), Levels.of(self, NO_CONTEXT, train)
        emb = levels.embed(noise_cond)
        x = space_to_depth(x.astype(dtype), self.patch)
        h = levels.middle(levels.down(x, emb)[-1], emb)
        h = AttentionPool(self.heads, dtype, name="pool")(nn.swish(Norm(dtype, name="norm")(h)))
        out = nn.Dense(self.classes, kernel_init=nn.initializers.zeros, name="out")
        seen = nn.swish(h)
        return seen, out(seen)


CLASSIFIERS = {"unet_encoder": UNetEncoder}
