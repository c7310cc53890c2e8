"""The null space of a measurement: samples that agree with it exactly, without training.

With the pseudo-inverse A+ of a linear A, x = A+ A x + (I - A+ A) x: the first part is what y = A x
tells, the second, in the null space of A, is what is left to the denoiser.
Wang et al. 2022, arXiv:2212.00490.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from ddm_jax.diffusion.arrays import Mask, T, X
from ddm_jax.diffusion.process import Denoise, Estimate

Y = Float[Array, "b *m"]  # measurements of examples


@runtime_checkable
class Operator(Protocol):
    """A linear measurement A of examples and its pseudo-inverse A+: A A+ A = A, A+ A A+ = A+.

    A+ A is symmetric: it projects at right angles. So A A+ y = y for every y that A can give.
    """

    def measure(self, x: X) -> Y:
        """y = A x of examples (B, *space, C)."""
        ...

    def back(self, y: Y) -> X:
        """A+ y, (B, *space, C): the smallest x that measures y."""
        ...


@dataclass(frozen=True)
class Grey:
    """The mean over `channels` channels, and the same value in all of them: colour is free."""

    channels: int = 3

    def __post_init__(self):
        if self.channels < 1:
            raise ValueError(f"needs channels >= 1, not {self.channels}")

    def measure(self, x: X) -> Y:
        """(B, *space, C) -> (B, *space, 1)."""
        if x.shape[-1] != self.channels:
            raise ValueError(f"{x.shape[-1]} channels, where {self.channels} are to be averaged")
        return x.mean(-1, keepdims=True)

    def back(self, y: Y) -> X:
        """(B, *space, 1) -> (B, *space, C)."""
        return jnp.repeat(y, self.channels, -1)


@dataclass(frozen=True)
class Lower:
    """The mean over blocks of `factor` along each axis of space, and even blocks: detail is free.

    For sounds, images, clips and volumes alike.
    """

    factor: int = 4

    def __post_init__(self):
        if self.factor < 1:
            raise ValueError(f"needs factor >= 1, not {self.factor}")

    def measure(self, x: X) -> Y:
        """(B, *space, C) -> (B, *space / factor, C)."""
        if any(size % self.factor for size in x.shape[1:-1]):
            raise ValueError(f"{x.shape[1:-1]} cannot be split into blocks of {self.factor}")
        for axis in range(1, x.ndim - 1):
            blocks = *x.shape[:axis], -1, self.factor, *x.shape[axis + 1 :]
            x = x.reshape(blocks).mean(axis + 1)
        return x

    def back(self, y: Y) -> X:
        """(B, *space / factor, C) -> (B, *space, C)."""
        for axis in range(1, y.ndim - 1):
            y = jnp.repeat(y, self.factor, axis)
        return y


@dataclass(frozen=True)
class Masked:
    """The elements where `mask` is True, 0 elsewhere: the others are free. It is its own inverse.

    mask: broadcastable to the examples.
    """

    mask: Mask

    def measure(self, x: X) -> Y:
        """(B, ...) -> (B, ...)."""
        return jnp.where(self.mask, x, 0.0)

    def back(self, y: Y) -> X:
        """(B, ...) -> (B, ...)."""
        return jnp.where(self.mask, y, 0.0)


def consistent(denoise: Denoise, operator: Operator, y: Y) -> Denoise:
    """The denoiser whose estimates agree with y: x_0 + A+ (y - A x_0).

    It keeps the part of x0_hat in the null space and takes the rest from y, (B, ...), so that the
    sample, an estimate itself, measures y. Clipping must come before it, or the estimate would no
    longer agree. Wang et al. 2022, arXiv:2212.00490, eq. 13 and algorithm 1.
    """

    def held(x_t: X, t: T, s: T | None = None) -> Estimate:
        estimate = denoise(x_t, t, s)
        x0 = estimate.x0
        return estimate._replace(x0=x0 + operator.back(y - operator.measure(x0)))

    return held


OPERATORS = {"grey": Grey, "lower": Lower, "masked": Masked}
