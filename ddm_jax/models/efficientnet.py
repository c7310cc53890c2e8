"""EfficientNet-Lite: a small classifier of ImageNet, for use without training.

Tan & Le 2019, arXiv:1905.11946, without what phones compute slowly: no squeeze and excitation, and
min(max(x, 0), 6) for swish. Parameters are named as in the package efficientnet-lite-pytorch.
"""

from typing import NamedTuple

import flax.linen as nn
from jax import Array

from ddm_jax.models.published import Conv, Linear, StoredNorm


class Stage(NamedTuple):
    """Blocks of one width, the first of them with the stride."""

    blocks: int
    kernel: int
    stride: int
    expand: int
    channels: int


LITE0 = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class MBConv(nn.Module):
    """Widen, filter each channel on its own, narrow; the input is added where it has that shape.

    Sandler et al. 2018, arXiv:1801.04381.
    """

    channels: int
    kernel: int
    stride: int
    expand: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        h, wide = x, x.shape[-1] * self.expand
        if self.expand != 1:
            h = Conv(wide, (1, 1), name="_expand_conv")(h)
            h = nn.relu6(StoredNorm(name="_bn0")(h))
        taps = self.kernel, self.kernel
        h = Conv(wide, taps, self.stride, groups=wide, name="_depthwise_conv")(h)
        h = nn.relu6(StoredNorm(name="_bn1")(h))
        h = StoredNorm(name="_bn2")(Conv(self.channels, (1, 1), name="_project_conv")(h))
        return x + h if h.shape == x.shape else h


class EfficientNetLite(nn.Module):
    """(B, H, W, 3) -> (features (B, head), logits (B, classes)).

    Every convolution is padded as TensorFlow does, with the odd row of zeros at the end. The
    features are the means over all positions that the last layer reads. With `maps` it gives what
    each stage ends with instead, (B, h, w, channels) each.
    """

    stages: tuple[Stage, ...] = LITE0
    stem: int = 32
    head: int = 1280
    classes: int = 1000

    @nn.compact
    def __call__(self, x: Array, maps: bool = False) -> tuple[Array, ...]:
        h = nn.relu6(StoredNorm(name="_bn0")(Conv(self.stem, (3, 3), 2, name="_conv_stem")(x)))
        place, ends = 0, []
        for stage in self.stages:
            for block in range(stage.blocks):
                stride = stage.stride if block == 0 else 1
                how = stage.channels, stage.kernel, stride, stage.expand
                h = MBConv(*how, name=f"_blocks.{place}")(h)
                place += 1
            ends.append(h)
        if maps:
            return tuple(ends)
        h = nn.relu6(StoredNorm(name="_bn1")(Conv(self.head, (1, 1), name="_conv_head")(h)))
        pooled = h.mean((1, 2))
        return pooled, Linear(self.classes, name="_fc")(pooled)
