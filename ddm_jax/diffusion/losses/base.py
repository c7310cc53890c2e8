"""What losses are given and give; and what an objective and a density of training times are."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import Times
from ddm_jax.diffusion.conditions import Raw
from ddm_jax.diffusion.losses.noised import NoisedBatch, Problem
from ddm_jax.diffusion.schedules.base import Schedule


class Batch(NamedTuple):
    """Examples x0 (B, ...), their raw conditions, and places (B,) in the whole batch.

    augment_labels: how each example was changed, (B, L), 0 for not; None where no label tells it.
    noise: (B, ...), of examples that each have their own; None where any is drawn.
    """

    x0: Array
    cond: Raw
    place: Array
    augment_labels: Array | None = None
    noise: Array | None = None


class Params(NamedTuple):
    """What is trained: parameters of the network and of what stands beside it, () for none.

    augment: the matrix (L, W) that embeds augment labels. adversary: of what learns to tell what is
    made from what is real.
    """

    net: Any
    cond: Any = ()
    schedule: Any = ()
    objective: Any = ()
    augment: Any = ()
    adversary: Any = ()


class Terms(NamedTuple):
    """Per-example loss (B,), the time (B,) at which it was taken, its factor (B,) in the mean.

    parts: what the loss is made of, (B,) each, by the names under which they are logged.
    """

    loss: Array
    t: Array | None  # None of a loss without noise levels
    weight: Array
    parts: Mapping[str, Array] = MappingProxyType({})


class Objective(ABC):
    """What is minimised, and what can be said of it."""

    learns_variance = False  # the network has twice the output channels
    chain: ClassVar[bool] = False  # a bound on the schedule's T levels: times must be levels
    continuous: ClassVar[bool] = False  # a bound in continuous time, which may train a schedule
    asks_teacher: ClassVar[bool] = False  # it compares with the model of another run
    two_times: ClassVar[bool] = False  # the network is told the second time of a jump
    asks_slope: ClassVar[bool] = False  # its aim holds the network's slope in time
    estimate: ClassVar[str] = "mean"  # of x_0 given x_t, or "end": that of x_t's path
    unit: ClassVar[str] = "mean over elements"

    @property
    def asks_null(self) -> bool:
        """Whether it asks the network without its condition, too."""
        return False

    def init_params(self, key: Array) -> Any:
        """Fresh parameters, () of an objective that has none."""
        return ()

    def with_params(self, params: Any) -> "Objective":
        """The objective with these parameters, which may be traced."""
        return self

    @abstractmethod
    def loss(
        self, problem: Problem, params: Any, schedule: Schedule, batch: NoisedBatch
    ) -> tuple[Array, Mapping[str, Array]]:
        """The loss (B,) of the network with these parameters, and its parts (B,) by name."""


Memory = Any  # a pytree that a density carries from step to step of training


class TimeSampler(ABC):
    """A density of training times, given by its quantiles; this one learns nothing on the way."""

    @abstractmethod
    def quantile(self, schedule: Schedule, u: Times, memory: Memory) -> Array:
        """The time below which a share u of the draws falls; u (B,) in (0, 1) -> t (B,)."""

    def init(self, schedule: Schedule) -> Memory:
        """What is remembered before the first step of training."""
        return ()

    def weight(self, t: Times, memory: Memory) -> Array:
        """The factor that undoes a deliberate preference for some times; t (B,) -> (B,)."""
        return jnp.ones_like(t)

    def update(self, memory: Memory, t: Times, loss: Times) -> Memory:
        """The memory after a step whose whole batch had losses (B,) at times (B,)."""
        return memory
