"""Learning from the model of another run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jax import Array

from ddm_jax.diffusion.losses.base import Objective
from ddm_jax.diffusion.losses.noised import (
    NoisedBatch,
    Problem,
    aimed,
    predict_noised,
    weighted_error,
)
from ddm_jax.diffusion.schedules.base import Schedule


@dataclass(frozen=True)
class Teacher(Objective):
    """distance(sqrt(w) (x0_hat - x0_teacher)): the weighting's loss, with the estimate that another
    run makes of x_0 at the same x_t, under the same condition, in place of x_0.

    If the teacher knows E[x_0 | x_t], the gradient is on average that of the loss on x_0, and
    varies less. Kim et al. 2023, arXiv:2305.15798, eq. 3 (output distillation).
    """

    asks_teacher = True

    def loss(
        self, problem: Problem, params: Any, schedule: Schedule, batch: NoisedBatch
    ) -> tuple[Array, Mapping[str, Array]]:
        if batch.teacher is None:
            raise ValueError("the teacher's objective needs a teacher")
        predicted = predict_noised(problem, params, schedule, batch)
        aim = batch.teacher(predicted.x_t, batch.t).x0
        predicted = aimed(problem, schedule, batch.t, predicted, x0=aim)
        return weighted_error(problem, schedule, batch.t, predicted), {}
