"""The U-Net of Ho et al. 2020 with the options that later work added."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.conditions import NO_CONTEXT, Context
from ddm_jax.models.layers import Conv, Norm
from ddm_jax.models.levels import Levels
from ddm_jax.models.resampling import depth_to_space, rank_of_patches, space_to_depth

SPACE_TIME = ("joint", "factorised")


class DDPMUNet(nn.Module):
    """F(x, noise_cond, context): (B, *space, C), (B,), Context -> (B, *space, out_channels).

    The defaults are the published CIFAR-10 network, 35,746,307 parameters for 3 channels: Ho et
    al. 2020, arXiv:2006.11239, appendix B. `attention` lists the sizes (of the first spatial
    axis, after patching) at which blocks are followed by attention. `patch` folds blocks of pixels
    into channels at the input and back at the output (Hoogeboom et al. 2023, arXiv:2301.11093),
    for speed. `resample` is "conv" (strided convolution down, nearest neighbour and convolution up)
    or "block" (in a residual block, as BigGAN). The context's vector, of `width` elements, is added
    to the noise embedding, and its sequence attended to. `remat` recomputes blocks in the backward
    pass to save memory. `groups` is the number of groups of every norm; 0: 32, or fewer where there
    are few channels. `space_time`: joint, all axes alike, or factorised, where the first axis is
    time: each frame passes the levels alone, told its place in the clip, and every block and every
    attention within frames is followed by one through time at each position; Ho et al. 2022,
    arXiv:2204.03458, section 3; Singer et al. 2022, arXiv:2209.14792, section 3.2. The output is
    float32, and zero at initialisation.
    """

    out_channels: int
    channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    blocks: int = 2
    patch: int = 1
    attention: tuple[int, ...] = (16,)
    heads: int = 1
    dropout: float = 0.1
    scale_shift: bool = False
    resample: str = "conv"
    dtype: str = "float32"
    remat: bool = False
    groups: int = 0
    space_time: str = "joint"

    reads = ("vector", "sequence", "mask", "gap")

    @property
    def width(self) -> int:
        """Elements of the vector of a Context."""
        return 4 * self.channels

    @property
    def factorised(self) -> bool:
        """Whether the first axis is time."""
        return self.space_time == "factorised"

    def check(self, space: tuple[int, ...]) -> None:
        """Raises ValueError where the settings cannot work on images of size `space`."""
        if self.space_time not in SPACE_TIME:
            known = ", ".join(SPACE_TIME)
            raise ValueError(f"space_time is one of {known}, not {self.space_time!r}")
        if self.factorised and len(space) < 2:
            raise ValueError(
                "space_time=factorised is for data of two axes or more, as clips are; set "
                "space_time=joint"
            )
        frame = space[1:] if self.factorised else space
        Levels.of(self, groups=self.groups).check(frame, self.patch)

    def rank(self, shape: tuple[int, ...]) -> int:
        """Of how many numbers an output for x, (*space, C), is a function."""
        width = self.channels * self.multipliers[0]
        if self.factorised:
            return shape[0] * rank_of_patches(shape[1:], self.patch, width)
        return rank_of_patches(shape, self.patch, width)

    @nn.compact
    def __call__(
        self,
        x: Array,
        noise_cond: Array,
        context: Context = NO_CONTEXT,
        train: bool = False,
    ) -> Array:
        if not self.factorised:
            return self._of_examples(x, noise_cond, context, train)
        clips, frames = x.shape[:-1], x.shape[1]
        noise_cond, context = jax.tree.map(
            lambda a: jnp.repeat(a, frames, 0), (noise_cond, context)
        )
        out = self._of_examples(
            x.reshape(-1, *x.shape[2:]), noise_cond, context, train, frames=frames
        )
        return out.reshape(*clips, -1)

    def _of_examples(
        self, x: Array, noise_cond: Array, context: Context, train: bool, *, frames: int = 0
    ) -> Array:
        """F of examples, or of frames, so many in a row of one clip."""
        dtype = jnp.dtype(self.dtype)
        levels = Levels.of(
            self, context, train, remat=self.remat, groups=self.groups, frames=frames
        )
        emb = levels.embed(noise_cond)
        x = space_to_depth(x.astype(dtype), self.patch)
        skips = levels.down(x, emb)
        h = levels.middle(skips[-1], emb)
        for level, multiplier in reversed(list(enumerate(self.multipliers))):
            width = self.channels * multiplier
            for i in range(self.blocks + 1):
                joined = jnp.concatenate([h, skips.pop()], -1)
                h = levels.block(joined, emb, width, f"up{level}_block{i}")
                if h.shape[1] in self.attention:
                    h = levels.attend(h, f"up{level}_attention{i}")
            if level > 0:
                name = f"up{level}_resample"
                if self.resample == "block":
                    h = levels.block(h, emb, width, name, resample="up")
                else:
                    h = Conv(width, enlarge=True, dtype=dtype, name=name)(h)

        h = nn.swish(Norm(dtype, self.groups, name="norm_out")(h))
        width = self.out_channels * self.patch ** (x.ndim - 2)
        out = Conv(width, zero=True, dtype=jnp.float32, name="conv_out")(h)
        return depth_to_space(out, self.patch)
