"""The diffusion transformer, for data of any number of spatial dimensions."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.nn.initializers import Initializer

from ddm_jax.diffusion.conditions import NO_CONTEXT, Context
from ddm_jax.models.layers import kernel_init, sinusoidal_embedding, zero_init
from ddm_jax.models.positions import sines_and_cosines
from ddm_jax.models.resampling import depth_to_space, rank_of_patches, space_to_depth
from ddm_jax.models.transformer import Block, Settings, modulated

POSITIONS = ("sincos", "rope", "none")
KERNELS = ("xla", "cudnn")
ATTENTIONS = ("joint", "factorised")
_FREQUENCIES = 256  # elements of the embedding of the noise before it is mapped


class DiT(nn.Module):
    """F(x, noise_cond, context): (B, *space, C), (B,), Context -> (B, *space, out_channels).

    Blocks of `patch` cells an axis are tokens of `channels` elements, on which `depth` transformer
    blocks work. The defaults are DiT-S/2, 32.5 million parameters on latents of 4 channels with a
    learned variance, beside the table of classes: Peebles & Xie 2022, arXiv:2212.09748. The
    context's vector, of `width` elements, and an embedding of its gap, zero at first, are added to
    the embedding of the noise, and its sequence attended to. `position`: sincos adds sines and
    cosines of a token's place, rope turns queries and keys by it, none tells no place. `skips`:
    what comes out of block i is put beside what goes into block depth - 1 - i, and both are mapped
    to `channels`; Bao et al. 2022, arXiv:2209.12152. `attention`: joint, of all tokens to all, or
    factorised, in turn within a frame (one place on the first axis) and through time (along that
    axis): T + N / T keys a token for N, with the same parameters; Ma et al. 2024, arXiv:2401.03048,
    variant 1. `remat`: blocks are computed again in the
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
    attention: str = "joint"
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
            ("attention", self.attention, ATTENTIONS),
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
        if self.attention == "factorised" and (len(space) < 2 or self.depth < 2):
            raise ValueError(
                "attention=factorised takes turns of two blocks on data of two axes or more, as "
                "clips are; set attention=joint"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout lies in [0, 1), not {self.dropout}")
        if any(size % self.patch for size in space):
            shape = "x".join(map(str, space))
            raise ValueError(
                f"data of {shape} do not divide into patches of {self.patch}; set model.dit.patch "
                "to what divides it"
            )

    def rank(self, shape: tuple[int, ...]) -> int:
        """Of how many numbers an output is a function: the last norm takes one of each token's."""
        return rank_of_patches(shape, self.patch, self.channels - 1)

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
        how = self.heads, self.dropout, self.qk_norm, self.kernel, dtype, grid
        rope = self.position == "rope" and bool(axes)
        turns = ("all",) if self.attention == "joint" else ("space", "time")
        block, seen = nn.remat(Block) if self.remat else Block, []
        half = (self.depth - 1) // 2 if self.skips else 0
        for i in range(self.depth):
            if i >= self.depth - half:
                h = dense(self.channels, f"skip{i}")(jnp.concatenate([h, seen.pop()], -1))
            own = Settings(*how, over=turns[i % len(turns)], rope=rope, train=train)
            h = block(own, self.ratio, name=f"block{i}")(h, emb, context)
            if i < half:
                seen.append(h)
        last = nn.Dense(2 * self.channels, kernel_init=zero_init, dtype=dtype, name="modulation")
        h = modulated(h, *jnp.split(last(nn.swish(emb)), 2, -1))
        size = self.out_channels * self.patch**axes
        out = nn.Dense(size, kernel_init=zero_init, dtype=jnp.float32, name="out")(h)
        return depth_to_space(out.reshape(len(x), *grid, size), self.patch)
