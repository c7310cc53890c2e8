"""Noised examples as a network sees them, and the error that it makes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import T, expand
from ddm_jax.diffusion.conditions import Context
from ddm_jax.diffusion.losses.distances import L2
from ddm_jax.diffusion.losses.weightings import Simple
from ddm_jax.diffusion.noise_conds import NoiseCond
from ddm_jax.diffusion.predictions import (
    Net,
    Output,
    Parameterisation,
    Prediction,
    predict,
    target,
)
from ddm_jax.diffusion.process import Denoise, Estimate, diffuse
from ddm_jax.diffusion.schedules.base import Rates


class Values(NamedTuple):
    """The values that data take: `levels` of them, evenly spaced from low to high."""

    low: Array | float = -1.0
    high: Array | float = 1.0
    levels: int = 256


class Problem(NamedTuple):
    """What every objective is told of the network and the data."""

    net: Net
    prediction: Prediction
    noise_cond: NoiseCond
    weighting: Any = Simple()
    distance: Any = L2()
    values: Values = Values()

    def parameterisation(self, schedule: Rates) -> Parameterisation:
        """What makes an estimate of the network's F under this schedule."""
        return Parameterisation(schedule, self.prediction, self.noise_cond)

    def predict(
        self,
        params: Any,
        schedule: Rates,
        x_t: Array,
        *,
        t: T,
        context: Context,
        keys: Array | None = None,
        s: T | None = None,
    ) -> Output:
        """`predictions.predict` by this network under this schedule."""
        form = self.parameterisation(schedule)
        return predict(self.net, params, form, x_t, t=t, context=context, keys=keys, s=s)


class NoisedBatch(NamedTuple):
    """Examples x0 with noise eps (B, ...), times t (B,), their context and dropout keys (B,).

    own: keys (B,) for what an objective draws itself. step: () int32, the steps taken before.
    teacher: the denoiser of another run under the same conditions, where the objective asks it.
    null: the context that says nothing, and told: (B,) bool, which examples have their condition
    still, where the objective asks for them.
    """

    x0: Array
    eps: Array
    t: Array
    context: Context
    keys: Array
    teacher: Denoise | None = None
    own: Array | None = None
    step: Array | int | None = None
    null: Context | None = None
    told: Array | None = None


class Predicted(NamedTuple):
    """The noised examples, the network's F and the F that would give x_0 back, and its estimate."""

    x_t: Array
    f: Array
    target: Array
    estimate: Estimate


def predict_noised(
    problem: Problem, params: Any, schedule: Rates, batch: NoisedBatch, *, s: T | None = None
) -> Predicted:
    """Show the network the noised examples; a network of two times is told s too."""
    x_t = diffuse(schedule, batch.x0, batch.eps, batch.t)
    f, estimate = problem.predict(
        params, schedule, x_t, t=batch.t, context=batch.context, keys=batch.keys, s=s
    )
    rates = schedule.alpha(batch.t), schedule.sigma(batch.t)
    aim = target(problem.prediction, *rates, x0=batch.x0, eps=batch.eps)
    return Predicted(x_t, f, aim, estimate)


def aimed(
    problem: Problem, schedule: Rates, t: Array, predicted: Predicted, *, x0: Array
) -> Predicted:
    """What was predicted, with another x0 (B, ...) as the aim, where no gradient flows."""
    x0 = jax.lax.stop_gradient(x0)
    skip, out, _ = problem.prediction.coefficients(schedule.alpha(t), schedule.sigma(t))
    f = (x0 - expand(skip, x0) * predicted.x_t) / expand(out, x0)
    return predicted._replace(target=f)


def weighted_error(problem: Problem, schedule: Rates, t: Array, predicted: Predicted) -> Array:
    """distance(sqrt(w) (x0_hat - x_0)) averaged over an example's elements -> (B,).

    Taken as sqrt(w) c_out (F - target): the network's own space is where the difference keeps its
    digits at every noise level. So L1 in the space of eps is L1 of the error of eps.
    """
    _, out, _ = problem.prediction.coefficients(schedule.alpha(t), schedule.sigma(t))
    scale = jnp.sqrt(problem.weighting.on_x0(schedule, problem.prediction, t)) * abs(out)
    away = problem.distance(expand(scale, predicted.f) * (predicted.f - predicted.target))
    return away.mean(axis=tuple(range(1, away.ndim)))
