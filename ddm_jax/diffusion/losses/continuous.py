"""Consistency in continuous time: no neighbour on the path, but the slope along it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import T, X, expand
from ddm_jax.diffusion.losses.balanced import Balanced, flat
from ddm_jax.diffusion.losses.base import Objective
from ddm_jax.diffusion.losses.mean_flow import tangent
from ddm_jax.diffusion.losses.noised import NoisedBatch, Predicted, Problem, weighted_error
from ddm_jax.diffusion.predictions import Output
from ddm_jax.diffusion.process import diffuse
from ddm_jax.diffusion.schedules.base import Rates, Schedule


@dataclass(frozen=True)
class ContinuousConsistency(Objective):
    """The error of F(x_t, t) against F - g / (rms(g) + floor), held, with g = D / c_out.

    D = r dx0_hat/dl + (1 - r) (alpha^2 / (alpha^2 + sigma^2)) (x0_hat - x_0), where l =
    log(sigma / alpha) and the slope is the whole one, along the path of x_0 through x_t; rms(g) is
    over an example's elements. r rises from 0, where training is that of the mean of x_0, to 1
    over `warmup` steps. On the variance-preserving schedule with prediction.name=v this is the
    published loss: there D / c_out is -cos(a) dx0_hat/da of the angle a = arctan(sigma / alpha).
    The error is the weighting's, and with `features` > 0 so many coefficients learn to balance it
    over the noise levels, as Balanced says. Lu & Song 2024 (sCM), arXiv:2410.11081, eq. 6 to 8 and
    appendix D.
    """

    warmup: int = 10_000
    floor: float = 0.1
    features: int = 0

    estimate = "end"
    asks_slope = True

    def __post_init__(self):
        if self.warmup < 1:
            raise ValueError(f"warmup={self.warmup}: at least 1 step is needed")
        if self.floor <= 0:
            raise ValueError("needs floor > 0")
        if self.features < 0:
            raise ValueError("needs features >= 0; 0 is without a learned weighting")

    def init_params(self, key: Array) -> Any:
        return flat(self.features) if self.features else ()

    def with_params(self, params: Any) -> Objective:
        return Balanced(params, self) if self.features else self

    def end(self, batch: NoisedBatch, x_t: Array) -> Array:
        """The x_0 (B, ...) whose path through x_t is followed."""
        return batch.x0

    def loss(
        self, problem: Problem, params: Any, schedule: Schedule, batch: NoisedBatch
    ) -> tuple[Array, Mapping[str, Array]]:
        assert batch.step is not None

        def seen(x: Array, t: Array) -> Output:
            return problem.predict(params, schedule, x, t=t, context=batch.context, keys=batch.keys)

        x_t = diffuse(schedule, batch.x0, batch.eps, batch.t)
        x0 = self.end(batch, x_t)
        along, pace = by_log_noise(schedule, x_t, x0, batch.t)
        (f, estimate), (_, slope) = jax.jvp(seen, (x_t, batch.t), (along, pace))
        share = jnp.minimum(batch.step / self.warmup, 1.0)
        of_mean = expand(jax.nn.sigmoid(schedule.logsnr(batch.t)), x_t) * (estimate.x0 - x0)
        away = share * slope.x0 + (1 - share) * of_mean
        _, out, _ = problem.prediction.coefficients(
            schedule.alpha(batch.t), schedule.sigma(batch.t)
        )
        g = away / expand(out, away)
        size = jnp.sqrt((g**2).mean(tuple(range(1, g.ndim)), keepdims=True))
        aim = jax.lax.stop_gradient(f - g / (size + self.floor))
        error = weighted_error(problem, schedule, batch.t, Predicted(x_t, f, aim, estimate))
        return error, {"tangent": size.reshape(-1)}


@dataclass(frozen=True)
class ContinuousDistillation(ContinuousConsistency):
    """ContinuousConsistency on the paths of another run: x_0 is the one that it sees in x_t."""

    asks_teacher = True

    def end(self, batch: NoisedBatch, x_t: Array) -> Array:
        if batch.teacher is None:
            raise ValueError("distillation needs a teacher")
        return batch.teacher(x_t, batch.t).x0


def by_log_noise(schedule: Rates, x_t: X, x0: X, t: T) -> tuple[X, T]:
    """(dx_t/dl (B, ...), dt/dl (B,)) along the path of x_0 through x_t, l = log(sigma / alpha).

    dt/dl = alpha sigma / (alpha sigma' - sigma alpha'), which is 0 where alpha or sigma is.
    """
    one = jnp.ones_like(t)
    alpha, fall = jax.jvp(schedule.alpha, (t,), (one,))
    sigma, rise = jax.jvp(schedule.sigma, (t,), (one,))
    pace = alpha * sigma / (alpha * rise - sigma * fall)
    return expand(pace, x_t) * tangent(schedule, x_t, x0, t), pace
