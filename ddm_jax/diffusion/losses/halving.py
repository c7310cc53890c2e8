"""One step that does what two did: progressive distillation, and shortcut models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import T, X, expand
from ddm_jax.diffusion.losses.base import Objective
from ddm_jax.diffusion.losses.noised import (
    NoisedBatch,
    Problem,
    aimed,
    predict_noised,
    weighted_error,
)
from ddm_jax.diffusion.process import Denoise, Estimate
from ddm_jax.diffusion.samplers.base import exponential_step
from ddm_jax.diffusion.schedules.base import Rates, Schedule


@dataclass(frozen=True)
class Progressive(Objective):
    """The weighting's loss on the x_0 of one step, in place of the two that another run takes.

    The times are k / steps, k from 1, the next above a drawn one; at each the teacher takes two
    DDIM steps of half a stride, the last of which at k = 1 is its estimate. A network that learned
    this is sampled by sampler.name=ddim, timesteps.name=trailing and sample.steps as here, and is
    the teacher of half as many. Salimans & Ho 2022, arXiv:2202.00512, algorithm 2.
    """

    steps: int = 8

    asks_teacher = True

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps={self.steps}: at least 1 is needed")

    def loss(
        self, problem: Problem, params: Any, schedule: Schedule, batch: NoisedBatch
    ) -> tuple[Array, Mapping[str, Array]]:
        if batch.teacher is None:
            raise ValueError("progressive distillation needs a teacher")
        k = jnp.clip(jnp.ceil(batch.t * self.steps), 1, self.steps)
        t, m, s = (jnp.maximum(k - back, 0) / self.steps for back in (0.0, 0.5, 1.0))
        predicted = predict_noised(problem, params, schedule, batch._replace(t=t))
        first, second = two_steps(batch.teacher, schedule, predicted.x_t, t=t, m=m, s=s)
        share = jnp.where(s > 0, share_of_first(schedule, t, m, s), 0.0)
        aim = second + expand(share, second) * (first - second)
        predicted = aimed(problem, schedule, t, predicted, x0=aim)
        return weighted_error(problem, schedule, t, predicted), {}


@dataclass(frozen=True)
class Shortcut(Objective):
    """The weighting's loss on x_0 for s = t, and for jumps on the x_0 that two half jumps make.

    A share `apart` of the examples jumps by 2^-j, j even on 0 .. levels, from a multiple of it, the
    next above the drawn time. The half jumps are the network's own, held; those of the smallest
    jump are told s = t. So what the shortest steps do spreads to the longest, and sampling takes
    1, 2, 4 .. 2^levels steps of timesteps.name=trailing. Frans et al. 2024, arXiv:2410.12557,
    eq. 5 (there the half jumps are of averaged weights).
    """

    apart: float = 0.25
    levels: int = 7

    two_times = True

    def __post_init__(self):
        if not 0 < self.apart <= 1:
            raise ValueError(f"apart is a share in (0, 1], not {self.apart}")
        if self.levels < 0:
            raise ValueError(f"levels={self.levels}: needs levels >= 0")

    def loss(
        self, problem: Problem, params: Any, schedule: Schedule, batch: NoisedBatch
    ) -> tuple[Array, Mapping[str, Array]]:
        assert batch.own is not None
        jumps, level = draw_jumps(batch.own, self.apart, self.levels)
        stride = 2.0**-level
        top = jnp.clip(jnp.ceil(batch.t / stride), 1.0, None) * stride
        t = jnp.where(jumps, top, batch.t)
        s = jnp.where(jumps, t - stride, t)
        predicted = predict_noised(problem, params, schedule, batch._replace(t=t), s=s)

        def own(x_t: X, t: T, s: T | None = None) -> Estimate:
            told = jnp.where(level == self.levels, t, t if s is None else s)
            return problem.predict(
                params, schedule, x_t, t=t, context=batch.context, keys=batch.keys, s=told
            ).estimate

        m = jnp.where(jumps, t - stride / 2, t)
        first, second = two_steps(own, schedule, predicted.x_t, t=t, m=m, s=s)
        share = share_of_first(schedule, t, m, s)
        aim = second + expand(share, second) * (first - second)
        aim = jnp.where(expand(jumps, aim), aim, batch.x0)
        predicted = aimed(problem, schedule, t, predicted, x0=aim)
        return weighted_error(problem, schedule, t, predicted), {}


def draw_jumps(own: Array, apart: float, levels: int) -> tuple[Array, Array]:
    """(whether an example jumps (B,), a level even on 0 .. levels (B,)), from its key."""
    u = jax.vmap(lambda key: jax.random.uniform(key, (2,)))(own)
    return u[:, 0] < apart, jnp.floor(u[:, 1] * (levels + 1))


def two_steps(
    denoise: Denoise, schedule: Schedule, x_t: X, *, t: T, m: T, s: T
) -> tuple[Array, Array]:
    """The estimates of x_0 at x_t and, one DDIM step later, at x_m, for jumps t -> m -> s."""
    first = denoise(x_t, t, m).x0
    x_m = exponential_step(schedule, x_t, first, t=t, s=m)
    return first, denoise(x_m, m, s).x0


def share_of_first(schedule: Rates, t: T, m: T, s: T) -> Array:
    """w, for which one DDIM step t -> s by w x_0' + (1 - w) x_0'' is the two of x_0' and x_0''.

    They go t -> m -> s, and w = (r_m - r_t) / (r_s - r_t) with r = alpha / sigma; 0 where t = s.
    """
    half = [0.5 * schedule.logsnr(u) for u in (t, m, s)]
    whole = jnp.expm1(half[2] - half[0])
    moves = whole > 0
    return jnp.where(moves, jnp.expm1(half[1] - half[0]) / jnp.where(moves, whole, 1.0), 0.0)
