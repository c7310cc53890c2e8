"""Averages of the weights over training, with which a run samples."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ddm_jax.training.power_function import Profile, exponent, mixture


class Average(ABC):
    """What is kept of the weights seen, as arrays of one structure, and the average in it.

    All of it is float32, whatever computes with the weights. shorter: what a user does about an
    average that is too long for a run.
    """

    shorter: ClassVar[str] = "take another average"

    @abstractmethod
    def init(self, params: Any) -> Any:
        """What is kept before the first update, in memory of its own."""

    @abstractmethod
    def update(self, memory: Any, params: Any, step: ArrayLike, batch: int) -> Any:
        """What is kept after update `step` = 1, 2, ..., on `batch` examples, gave `params`."""

    @abstractmethod
    def read(self, memory: Any) -> Any:
        """The averaged weights, of the structure of `params`, as training sees them."""

    def shares(self, steps: Sequence[int]) -> dict[int, Any]:
        """Which of the memories kept at `steps`, in rising order, make the average at the last.

        It is the sum of `portion(memory, share)` over the steps and shares that this gives.
        ValueError where the steps do not suffice.
        """
        return {steps[-1]: None}

    def portion(self, memory: Any, share: Any) -> Any:
        """What a memory adds to an average, of the structure of `params`."""
        return self.read(memory)


class Single(Average):
    """An average that is all that is kept; before the first step it is the first weights."""

    def init(self, params: Any) -> Any:
        return jax.tree.map(jnp.copy, params)

    def read(self, memory: Any) -> Any:
        return memory


@dataclass(frozen=True)
class Ema(Single):
    """ema <- d ema + (1 - d) params, with d = min(decay, (1 + n) / (10 + n)) after update n.

    The warm-up keeps early averages from being the initial weights; `warmup=False` is d = decay.
    """

    decay: float = 0.9999
    warmup: bool = True

    shorter = "lower average.ema.decay, or set average.ema.warmup=True"

    def __post_init__(self):
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay lies in [0, 1), not {self.decay}")

    def rate(self, n: ArrayLike) -> Array:
        """d after update n = 1, 2, ..."""
        n = jnp.asarray(n, jnp.float32)
        ramp = (1 + n) / (10 + n) if self.warmup else jnp.ones_like(n)
        return jnp.minimum(self.decay, ramp)

    def update(self, memory: Any, params: Any, step: ArrayLike, batch: int) -> Any:
        d = self.rate(step)
        return jax.tree.map(lambda e, p: d * e + (1 - d) * p, memory, params)


@dataclass(frozen=True)
class HalfLife(Single):
    """ema <- d ema + (1 - d) params, d = 2^(-B / h), h = min(images, ramp_up n B) after update n.

    B is the batch, so that the average forgets half of what it holds in `images` training examples
    whatever the batch. Early on h is a share `ramp_up` of the examples seen; 0: no ramp.
    Karras et al. 2022, arXiv:2206.00364, appendix F.2.
    """

    images: float = 500_000.0
    ramp_up: float = 0.05

    shorter = "lower average.half_life.images, or set average.half_life.ramp_up=0.05"

    def __post_init__(self):
        if self.images <= 0:
            raise ValueError(f"images={self.images} must be more than 0")
        if self.ramp_up < 0:
            raise ValueError(f"ramp_up={self.ramp_up} must be more than 0, or 0 for no ramp")

    def update(self, memory: Any, params: Any, step: ArrayLike, batch: int) -> Any:
        n = jnp.asarray(step, jnp.float32)
        lives = batch / self.images  # half-lives that an update takes
        if self.ramp_up:
            lives = jnp.maximum(lives, 1 / (self.ramp_up * n))
        new = -jnp.expm1(-jnp.log(2.0) * lives)
        return jax.tree.map(lambda e, p: e + new * (p - e), memory, params)


@dataclass(frozen=True)
class Power(Average):
    """ema <- d ema + (1 - d) params, d = (1 - 1/n)^(g + 1) after update n, for each of `tracked`.

    Lengths are standard deviations in units of the run, from which g follows, so that averages grow
    with the run, and the first weights have no share. Samples are drawn with that of `length`, 0
    for the first that is tracked; one that is not tracked is made of what all checkpoints hold that
    are there, those that train.keep_every keeps among them. Karras et al. 2023 (EDM2),
    arXiv:2312.02696, section 3 and algorithm 2.
    """

    tracked: tuple[float, ...] = (0.05, 0.1)
    length: float = 0.0

    tolerance: ClassVar[float] = 0.1  # of a profile: the largest share that may be missed

    def __post_init__(self):
        if not self.tracked or len(set(self.tracked)) < len(self.tracked):
            raise ValueError(f"tracked={self.tracked} must be lengths, each of them once")
        for std in (*self.tracked, *((self.length,) if self.length else ())):
            exponent(std)

    def init(self, params: Any) -> Any:
        return tuple(jax.tree.map(jnp.copy, params) for _ in self.tracked)

    def update(self, memory: Any, params: Any, step: ArrayLike, batch: int) -> Any:
        log_left = jnp.log1p(-1 / jnp.asarray(step, jnp.float32))

        def updated(std: float, kept: Any) -> Any:
            new = -jnp.expm1((exponent(std) + 1) * log_left)
            return jax.tree.map(lambda e, p: e + new * (p - e), kept, params)

        return tuple(map(updated, self.tracked, memory))

    def read(self, memory: Any) -> Any:
        return memory[0]

    def shares(self, steps: Sequence[int]) -> dict[int, Any]:
        length, last = self.length or self.tracked[0], steps[-1]
        if length in self.tracked or not last:
            one = [float(std == length) for std in self.tracked] if last else [1.0]
            return {last: np.array(one)}
        useful = [step for step in steps if step]  # before the first step there is no average
        kept = [Profile(std, step) for step in useful for std in self.tracked]
        found = mixture(kept, Profile(length, last))
        if found.error > self.tolerance:
            raise ValueError(
                f"length={length} cannot be made of lengths {self.tracked} at "
                f"{len(useful)} checkpoints: {100 * found.error:.0f} % of it is missed; take one "
                "nearer to those, or keep more checkpoints with train.keep_every"
            )
        return dict(zip(useful, found.shares.reshape(len(useful), -1), strict=True))

    def portion(self, memory: Any, share: Any) -> Any:
        def weighted(*leaves: Array) -> np.ndarray:
            parts = zip(share, leaves, strict=False)
            return np.asarray(sum(s * np.asarray(leaf, np.float64) for s, leaf in parts if s))

        return jax.tree.map(weighted, *memory)


AVERAGES = {"ema": Ema, "half_life": HalfLife, "power": Power}
