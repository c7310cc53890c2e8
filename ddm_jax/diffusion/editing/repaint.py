"""RePaint: fill in the unknown part of an image around the known one, with any sampler."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ddm_jax.diffusion.arrays import Keys, Mask, T, X, expand, fold_in, normal_like
from ddm_jax.diffusion.process import Denoise, diffuse, forward_kernel
from ddm_jax.diffusion.samplers.base import Memory, Sampler
from ddm_jax.diffusion.schedules.base import Schedule


def repaint_times(times: ArrayLike, rounds: int, jump: int) -> np.ndarray:
    """The grid walked in stretches of `jump` steps, each of them down `rounds` times, float32.

    Between two visits the walk goes back up through the same times. From n times come
    1 + (n - 1) (2 rounds - 1): each of the n - 1 steps is taken `rounds` times down and
    rounds - 1 times up, of which only those down call the denoiser. The last stretch has the steps
    that are left; rounds = 1 is the grid itself. times: (n,) or (n, B), decreasing. ValueError for
    rounds or jump below 1. Lugmayr et al. 2022, arXiv:2201.09865, section 4.2 and appendix B.
    """
    if rounds < 1 or jump < 1:
        raise ValueError(f"needs rounds >= 1 and jump >= 1, not {rounds} and {jump}")
    grid = np.asarray(times, np.float32)
    last, visited = len(grid) - 1, [0]
    for top in range(0, last, jump):
        bottom = min(top + jump, last)
        down = [*range(top + 1, bottom + 1)]
        up = [*range(bottom - 1, top - 1, -1)]
        visited += down + (rounds - 1) * (up + down)
    return grid[visited]


@dataclass(frozen=True)
class Repaint(Sampler):
    """A sampler that is held to the known elements at every time, and can step back up.

    Down, from t to s < t: the inner sampler's x_s, in which known elements are a fresh draw of
    q(x_s | x_0 = known). Up, from t to s > t: a draw of q(x_s | x_t) of all elements, after which
    the inner sampler remembers nothing, as its history is of another path. Since known and unknown
    elements are drawn apart, the step down alone leaves them too independent of each other; walked
    again and again by `repaint_times` they come into harmony.

    sampler: of the table, whatever it is. known: (B, ...), read where mask is True. mask:
    broadcastable to it. Lugmayr et al. 2022, arXiv:2201.09865, algorithm 1.
    """

    sampler: Sampler
    known: X
    mask: Mask

    @property
    def estimate(self) -> str:
        return self.sampler.estimate

    @property
    def evaluations(self) -> None:
        return None

    @property
    def asks_variance(self) -> bool:
        return self.sampler.asks_variance

    def init(self, x: X) -> Memory:
        return self.sampler.init(x)

    def step(
        self, denoise: Denoise, schedule: Schedule, x_t: X, *, t: T, s: T, key: Keys, memory: Memory
    ) -> tuple[X, Memory]:
        inner, of_known, of_rise = (fold_in(key, k) for k in range(3))
        # Where times are each example's own both ways are computed, so each must stay finite for
        # those that go the other one: it is of no length there.
        below, above = jnp.minimum(s, t), jnp.maximum(s, t)

        def fall() -> tuple[Array, Memory]:
            x_s, after = self.sampler.step(
                denoise, schedule, x_t, t=t, s=below, key=inner, memory=memory
            )
            known = diffuse(schedule, self.known, normal_like(of_known, x_t), below)
            return jnp.where(self.mask, known, x_s), after

        def rise() -> tuple[Array, Memory]:
            kept, _, variance = (expand(a, x_t) for a in forward_kernel(schedule, t, above))
            x_s = kept * x_t + jnp.sqrt(variance) * normal_like(of_rise, x_t)
            return x_s, self.sampler.init(x_t)

        rises = jnp.asarray(s > t)
        if rises.ndim == 0:
            return jax.lax.cond(rises, rise, fall)
        return jax.tree.map(
            lambda up, down: jnp.where(expand(rises, down), up, down), rise(), fall()
        )


def pinned(x0: X, known: X, mask: Mask) -> X:
    """The finished sample with the known elements exactly as they were, where mask is True."""
    return jnp.where(mask, known, x0)
