"""Consistency models: every point of a path is taken to the path's end."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import expand
from ddm_jax.diffusion.losses.base import Objective
from ddm_jax.diffusion.losses.noised import (
    NoisedBatch,
    Problem,
    aimed,
    predict_noised,
    weighted_error,
)
from ddm_jax.diffusion.process import diffuse
from ddm_jax.diffusion.samplers.one_step import Heun
from ddm_jax.diffusion.schedules.base import Schedule


@dataclass(frozen=True)
class Consistency(Objective):
    """sqrt(E + huber^2) - huber, E the error of x0_hat(x_t, t) against x0_hat(x_s, s), held.

    x_s has the noise of x_t, and s = t - 1 / N. N begins at `first` and doubles every `every` steps
    up to `last`. Where s <= 0 the aim is x_0 itself, so the boundary is exact, and with first=1
    training begins as that of the mean of x_0: a run that was trained for it is a good start
    (init.run). The error is the weighting's, taken with the distance; both passes have the same
    dropout. Song et al. 2023, arXiv:2303.01469; the distance, without a teacher: Song & Dhariwal
    2023, arXiv:2310.14189, eq. 7 and 8, where huber^2 is per element too; the tuning of a trained
    mean: Geng et al. 2024, arXiv:2406.14548.
    """

    first: int = 10
    last: int = 1280
    every: int = 1000
    huber: float = 5e-4

    estimate = "end"

    def __post_init__(self):
        if not 1 <= self.first <= self.last:
            raise ValueError("needs 1 <= first <= last, the parts that [0, 1] is cut into")
        if self.every < 1:
            raise ValueError(f"every={self.every}: N doubles after at least 1 step")
        if self.huber <= 0:
            raise ValueError("needs huber > 0")

    def segments(self, step: Array | int) -> Array:
        """N at an int32 step, (), float32."""
        doublings = jnp.minimum(step // self.every, 30)
        return jnp.minimum(self.first * 2.0**doublings, self.last)

    def neighbour(
        self, schedule: Schedule, batch: NoisedBatch, x_t: Array, s: Array
    ) -> tuple[Array, Array]:
        """(x_s (B, ...) on the path of x_t, and the x_0 (B, ...) that ends it where s <= 0)."""
        return diffuse(schedule, batch.x0, batch.eps, s), batch.x0

    def loss(
        self, problem: Problem, params: Any, schedule: Schedule, batch: NoisedBatch
    ) -> tuple[Array, Mapping[str, Array]]:
        assert batch.step is not None
        predicted = predict_noised(problem, params, schedule, batch)
        s = batch.t - 1 / self.segments(batch.step)
        above = jnp.maximum(s, 0.0)
        x_s, last = self.neighbour(schedule, batch, predicted.x_t, above)
        seen = problem.predict(
            params, schedule, x_s, t=above, context=batch.context, keys=batch.keys
        )
        aim = seen.estimate.x0
        aim = jnp.where(expand(s > 0, aim), aim, last)
        predicted = aimed(problem, schedule, batch.t, predicted, x0=aim)
        error = weighted_error(problem, schedule, batch.t, predicted)
        return jnp.sqrt(error + self.huber**2) - self.huber, {"loss_error": error}


@dataclass(frozen=True)
class ConsistencyDistillation(Consistency):
    """Consistency on the paths of another run: x_s is one step of Heun's method from x_t with it.

    Where s <= 0 the aim is the x_0 that the teacher sees in x_t, its last step. Song et al. 2023,
    arXiv:2303.01469, algorithm 2.
    """

    first: int = 18
    last: int = 18

    asks_teacher = True

    def neighbour(
        self, schedule: Schedule, batch: NoisedBatch, x_t: Array, s: Array
    ) -> tuple[Array, Array]:
        if batch.teacher is None:
            raise ValueError("distillation needs a teacher")
        unused = jax.random.key(0)  # without churn Heun's method draws nothing
        x_s, _ = Heun().step(batch.teacher, schedule, x_t, t=batch.t, s=s, key=unused, memory=())
        return x_s, batch.teacher(x_t, batch.t).x0
