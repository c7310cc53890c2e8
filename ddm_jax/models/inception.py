"""InceptionV3 as the Frechet Inception distance has it, for use without training.

Szegedy et al. 2015, arXiv:1512.00567, in the graph of December 2015 that Heusel et al. 2017,
arXiv:1706.08500, measure with. It is not the network of the same name elsewhere: means at the
border leave out the padding, the last block takes a maximum where the one before it takes a mean,
and there are 1008 classes. Parameters are named as in pytorch-fid's file of its weights.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from ddm_jax.models.published import Conv, Linear, Padding, StoredNorm, max_of_3, mean_of_3


class Unit(nn.Module):
    """Convolution, batch norm, max(x, 0)."""

    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: Padding = "SAME"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        conv = Conv(self.channels, self.kernel, self.stride, self.padding, name="conv")
        return nn.relu(StoredNorm(name="bn")(conv(x)))


class BlockA(nn.Module):
    """At 35 x 35: 1 x 1, 5 x 5, twice 3 x 3 and a mean."""

    pooled: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        wide = Unit(64, (5, 5), name="branch5x5_2")(Unit(48, name="branch5x5_1")(x))
        twice = Unit(96, (3, 3), name="branch3x3dbl_2")(Unit(64, name="branch3x3dbl_1")(x))
        twice = Unit(96, (3, 3), name="branch3x3dbl_3")(twice)
        mean = Unit(self.pooled, name="branch_pool")(mean_of_3(x))
        return jnp.concatenate([Unit(64, name="branch1x1")(x), wide, twice, mean], -1)


class BlockB(nn.Module):
    """From 35 x 35 to 17 x 17."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        twice = Unit(96, (3, 3), name="branch3x3dbl_2")(Unit(64, name="branch3x3dbl_1")(x))
        twice = Unit(96, (3, 3), 2, "VALID", name="branch3x3dbl_3")(twice)
        once = Unit(384, (3, 3), 2, "VALID", name="branch3x3")(x)
        return jnp.concatenate([once, twice, max_of_3(x, 2)], -1)


class BlockC(nn.Module):
    """At 17 x 17: 1 x 1, rows and columns of 7, the same twice, and a mean."""

    channels: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        row, column, width = (1, 7), (7, 1), self.channels
        once = Unit(width, row, name="branch7x7_2")(Unit(width, name="branch7x7_1")(x))
        once = Unit(192, column, name="branch7x7_3")(once)
        twice = Unit(width, name="branch7x7dbl_1")(x)
        for k, (taps, out) in enumerate(
            [(column, width), (row, width), (column, width), (row, 192)], 2
        ):
            twice = Unit(out, taps, name=f"branch7x7dbl_{k}")(twice)
        mean = Unit(192, name="branch_pool")(mean_of_3(x))
        return jnp.concatenate([Unit(192, name="branch1x1")(x), once, twice, mean], -1)


class BlockD(nn.Module):
    """From 17 x 17 to 8 x 8."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        once = Unit(320, (3, 3), 2, "VALID", name="branch3x3_2")(Unit(192, name="branch3x3_1")(x))
        other = Unit(192, (1, 7), name="branch7x7x3_2")(Unit(192, name="branch7x7x3_1")(x))
        other = Unit(192, (7, 1), name="branch7x7x3_3")(other)
        other = Unit(192, (3, 3), 2, "VALID", name="branch7x7x3_4")(other)
        return jnp.concatenate([once, other, max_of_3(x, 2)], -1)


class BlockE(nn.Module):
    """At 8 x 8: 1 x 1, 3 x 3 split into a row and a column, the same after another 3 x 3, and a
    mean; with `maximum` that of 3 x 3 pixels instead, as the last block of this graph has it.
    """

    maximum: bool

    @nn.compact
    def __call__(self, x: Array) -> Array:
        def split(h: Array, name: str) -> list[Array]:
            parts = ("a", (1, 3)), ("b", (3, 1))
            return [Unit(384, taps, name=f"{name}{part}")(h) for part, taps in parts]

        once = split(Unit(384, name="branch3x3_1")(x), "branch3x3_2")
        twice = Unit(384, (3, 3), name="branch3x3dbl_2")(Unit(448, name="branch3x3dbl_1")(x))
        pool = max_of_3(x, padding="SAME") if self.maximum else mean_of_3(x)
        last = Unit(192, name="branch_pool")(pool)
        first = Unit(320, name="branch1x1")(x)
        return jnp.concatenate([first, *once, *split(twice, "branch3x3dbl_3"), last], -1)


class InceptionV3(nn.Module):
    """(B, 299, 299, 3), from -1 to 1 -> (pool3 (B, 2048), logits (B, 1008))."""

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        h = Unit(32, (3, 3), 2, "VALID", name="Conv2d_1a_3x3")(x)
        h = Unit(32, (3, 3), padding="VALID", name="Conv2d_2a_3x3")(h)
        h = max_of_3(Unit(64, (3, 3), name="Conv2d_2b_3x3")(h), 2)
        h = Unit(80, name="Conv2d_3b_1x1")(h)
        h = max_of_3(Unit(192, (3, 3), padding="VALID", name="Conv2d_4a_3x3")(h), 2)
        for place, pooled in zip("bcd", (32, 64, 64), strict=True):
            h = BlockA(pooled, name=f"Mixed_5{place}")(h)
        h = BlockB(name="Mixed_6a")(h)
        for place, width in zip("bcde", (128, 160, 160, 192), strict=True):
            h = BlockC(width, name=f"Mixed_6{place}")(h)
        h = BlockD(name="Mixed_7a")(h)
        h = BlockE(False, name="Mixed_7b")(h)
        h = BlockE(True, name="Mixed_7c")(h)
        pooled = h.mean((1, 2))
        return pooled, Linear(1008, name="fc")(pooled)
