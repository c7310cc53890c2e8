"""Training times drawn where the loss is large, learned from the losses seen so far."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import Times
from ddm_jax.diffusion.losses.base import TimeSampler
from ddm_jax.diffusion.schedules.base import Schedule


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class History:
    """The last losses at each level, float32 (T, n), and how many there were, int32 (T,)."""

    loss: Any  # arrays, or what a map over the tree puts in their place
    count: Any


@dataclass(frozen=True)
class Importance(TimeSampler):
    """Levels i / (T - 1) drawn with p_i ~ sqrt(E[L_i^2]), and losses weighted by 1 / (T p_i).

    The expectation is over the last `history` losses of a level; until every level has as many,
    and in a share `uniform` of the draws afterwards, all levels are equally likely. Nichol &
    Dhariwal 2021, arXiv:2102.09672, section 3.3.
    """

    history: int = 10
    uniform: float = 0.001

    def __post_init__(self):
        if self.history < 1 or not 0 < self.uniform <= 1:
            raise ValueError("needs history >= 1 and uniform in (0, 1]")

    def init(self, schedule: Schedule) -> History:
        """No losses yet, of any of the schedule's T levels."""
        levels = schedule.num_timesteps
        return History(jnp.zeros((levels, self.history)), jnp.zeros((levels,), jnp.int32))

    def probabilities(self, memory: History) -> Array:
        """p (T,), summing to 1."""
        root = jnp.sqrt((memory.loss**2).mean(axis=1))
        total = root.sum()
        ready = (memory.count.min() >= self.history) & (total > 0)
        even = 1 / len(root)
        learned = self.uniform * even + (1 - self.uniform) * root / jnp.where(ready, total, 1.0)
        return jnp.where(ready, learned, even)

    def quantile(self, schedule: Schedule, u: Times, memory: History) -> Array:
        """The time below which a share u of the draws falls; u (B,) in (0, 1) -> t (B,)."""
        rising = jnp.cumsum(self.probabilities(memory))
        level = jnp.searchsorted(rising, u * rising[-1], side="right")
        return jnp.minimum(level, len(rising) - 1) / (len(rising) - 1)

    def weight(self, t: Times, memory: History) -> Array:
        """1 / (T p) at times (B,)."""
        p = self.probabilities(memory)
        return 1 / (len(p) * p[_level(t, memory)])

    def update(self, memory: History, t: Times, loss: Times) -> History:
        """The history with losses (B,) at times (B,) added in their order."""
        level = _level(t, memory)
        same = level[:, None] == level[None, :]
        before = jnp.tril(same, -1).sum(axis=1)
        after = jnp.triu(same, 1).sum(axis=1)
        slot = (memory.count[level] + before) % self.history
        # Of more than `history` losses of one level in a batch the last ones stay.
        row = jnp.where(after < self.history, level, len(memory.count))
        return History(
            memory.loss.at[row, slot].set(loss, mode="drop"), memory.count.at[level].add(1)
        )


def _level(t: Times, memory: History) -> Array:
    return jnp.round(t * (len(memory.count) - 1)).astype(jnp.int32)
