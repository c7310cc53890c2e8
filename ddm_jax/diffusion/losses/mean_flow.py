"""Mean flows: networks of two times that learn whole jumps along the path, without a teacher."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import T, Times, X, expand
from ddm_jax.diffusion.losses.base import Objective
from ddm_jax.diffusion.losses.noised import NoisedBatch, Predicted, Problem, weighted_error
from ddm_jax.diffusion.predictions import Output, Prediction
from ddm_jax.diffusion.process import diffuse, noise_of
from ddm_jax.diffusion.schedules.base import Rates, Schedule


@dataclass(frozen=True)
class MeanFlow(Objective):
    """The error of F(x_t, t, s) against what the MeanFlow identity makes of its own slope.

    A share `apart` of the examples has s = t u, u ~ U(0, 1), the others s = t, where this is the
    weighting's loss. For the straight path and prediction.name=velocity F is the mean of the
    velocity v between s and t, and its aim v - (t - s) dF/dt, the derivative along the path; other
    paths and predictions: see `jump_target`. The error E, that of the weighting and distance, is
    divided by (E + floor)^power, held. With guidance w the mean that the network makes without the
    condition, u, turns x_0 into x_0 + (w - 1) (x_0 - u) for examples that have their condition, so
    that guided jumps cost one evaluation. Geng et al. 2025, arXiv:2505.13447, eq. 6, 10, 19 and 22
    (there both times are drawn alike and put in order).
    """

    apart: float = 0.5
    power: float = 1.0
    floor: float = 1e-3
    guidance: float = 1.0

    two_times = True
    asks_slope = True
    follows_itself: ClassVar[bool] = False  # takes the slope along the path of its own estimate

    def __post_init__(self):
        if not 0 < self.apart <= 1:
            raise ValueError(f"apart is a share in (0, 1], not {self.apart}")
        if self.power < 0 or self.floor <= 0:
            raise ValueError("needs power >= 0 and floor > 0")

    @property
    def asks_null(self) -> bool:
        return self.guidance != 1.0

    def loss(
        self, problem: Problem, params: Any, schedule: Schedule, batch: NoisedBatch
    ) -> tuple[Array, Mapping[str, Array]]:
        predicted = self.aimed(problem, params, schedule, batch, s=second_time(batch, self.apart))
        error = weighted_error(problem, schedule, batch.t, predicted)
        scale = jax.lax.stop_gradient(error + self.floor) ** self.power
        return error / scale, {"loss_error": error}

    def aimed(
        self, problem: Problem, params: Any, schedule: Schedule, batch: NoisedBatch, *, s: T
    ) -> Predicted:
        """F for the jumps from t to s (B,), and its aim, where no gradient flows."""

        def seen(x: Array, t: Array) -> Output:
            return problem.predict(
                params, schedule, x, t=t, context=batch.context, keys=batch.keys, s=s
            )

        x_t = diffuse(schedule, batch.x0, batch.eps, batch.t)
        x0 = self.guided(problem, params, schedule, batch, x_t=x_t)
        along = tangent(schedule, x_t, x0, batch.t)
        way, one = along, jnp.ones_like(batch.t)
        if self.follows_itself:
            own = problem.predict(
                params, schedule, x_t, t=batch.t, context=batch.context, keys=batch.keys, s=batch.t
            )
            way = tangent(schedule, x_t, own.estimate.x0, batch.t)
        (f, estimate), (slope, _) = jax.jvp(seen, (x_t, batch.t), (way, one))
        aim = jump_target(
            schedule, problem.prediction, x_t, t=batch.t, s=s, x0=x0, along=along, f=slope
        )
        return Predicted(x_t, f, jax.lax.stop_gradient(aim), estimate)

    def guided(
        self, problem: Problem, params: Any, schedule: Rates, batch: NoisedBatch, *, x_t: Array
    ) -> Array:
        """x_0 as guidance moves it, (B, ...), where no gradient flows."""
        if not self.asks_null:
            return batch.x0
        assert batch.null is not None and batch.told is not None
        seen = problem.predict(
            params, schedule, x_t, t=batch.t, context=batch.null, keys=batch.keys, s=batch.t
        )
        mean = seen.estimate.x0
        moved = batch.x0 + (self.guidance - 1) * (batch.x0 - jax.lax.stop_gradient(mean))
        return jnp.where(expand(batch.told, moved), moved, batch.x0)


@dataclass(frozen=True)
class ImprovedMeanFlow(MeanFlow):
    """MeanFlow with the slope of F taken along the path that the network itself sees through x_t.

    That is the path of its own estimate at s = t in place of the path of x_0, for one evaluation
    more. What is left of x_0 in the aim is the velocity v of its path: F + (t - s) dF/dt is fitted
    to v, as F is at s = t, and how far v is from its mean is not magnified by the network's slope
    in x_t. The minimum is that of MeanFlow. Geng et al. 2025, arXiv:2512.02012 (there guidance is
    told to the network; here it is in the aim, as in MeanFlow).
    """

    follows_itself: ClassVar[bool] = True


def second_time(batch: NoisedBatch, apart: float) -> Array:
    """s (B,): t u, u ~ U(0, 1), for a share `apart` of the examples, and t for the others."""
    assert batch.own is not None
    u = jax.vmap(lambda key: jax.random.uniform(key, (2,)))(batch.own)
    return jnp.where(u[:, 0] < apart, batch.t * u[:, 1], batch.t)


def tangent(schedule: Rates, x_t: X, x0: X, t: T) -> X:
    """dx_t/dt = alpha' x_0 + sigma' eps along the path of x_0 through x_t, t (B,)."""
    eps = noise_of(schedule, x_t, x0, t)
    return jax.jvp(lambda u: diffuse(schedule, x0, eps, u), (t,), (jnp.ones_like(t),))[1]


def jump_target(
    schedule: Rates, prediction: Prediction, x_t: X, *, t: T, s: T, x0: X, along: X, f: X
) -> X:
    """What F(x_t, t, s) must be if its jump from t to s ends at one place all along a path.

    The jump ends at X = (sigma_s / sigma_t) x_t + g x0_hat with g = alpha_s - alpha_t sigma_s /
    sigma_t and x0_hat = c_skip x_t + c_out F, and dX/dt = 0 where
    (g c_out)' F = g' x_0 - (g c_skip)' x_t - g c_skip dx_t/dt - g c_out dF/dt,
    which is linear in x_0 and dx_t/dt, so that its mean over them is what their means give. At
    s = t it is the F that gives x_0 back. `along` is dx_t/dt and `f` dF/dt, (B, ...) each; t, s:
    (B,).
    """
    (_, skip, out), slopes = reaches(schedule, prediction, t, s)
    of_x0, of_skip, of_out = (expand(slope, x_t) for slope in slopes)
    rest = of_x0 * x0 - of_skip * x_t - expand(skip, x_t) * along - expand(out, x_t) * f
    return rest / of_out


def reaches(
    schedule: Rates, prediction: Prediction, t: Times, s: Times
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """(g, g c_skip, g c_out) of `jump_target` at t and s, one shape, and their slopes in t."""
    alpha_s, sigma_s = schedule.alpha(s), schedule.sigma(s)

    def at(t: Array) -> tuple[Array, ...]:
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        skip, out, _ = prediction.coefficients(alpha, sigma)
        reach = alpha_s - alpha * sigma_s / sigma
        return reach, reach * skip, reach * out

    return jax.jvp(at, (t,), (jnp.ones_like(t),))
