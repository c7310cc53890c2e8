"""The objective of variational diffusion models, which trains the schedule with the network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import OfTimes, Times
from ddm_jax.diffusion.likelihood.vlb import bits, decoder_term, prior_term
from ddm_jax.diffusion.losses.base import Objective
from ddm_jax.diffusion.losses.distances import L2
from ddm_jax.diffusion.losses.noised import NoisedBatch, Problem, predict_noised, weighted_error
from ddm_jax.diffusion.losses.weightings import Likelihood
from ddm_jax.diffusion.process import Estimate, diffuse, marginal_scale
from ddm_jax.diffusion.schedules.base import Schedule, signal_rate


@dataclass(frozen=True)
class VDM(Objective):
    """The bound in continuous time, in bits per element; it trains a learned schedule as well.

    -1/2 dSNR/dt |x0_hat - x_0|^2 + L_prior + L_decoder, t uniform. The mean does not depend on the
    log-SNR between its ends, so a schedule's interior follows the gradient of the square, which
    lowers the variance; the ends follow the bound itself. The decoder takes x_0 from
    x_t / alpha at t = 0, without the network. Kingma et al. 2021, arXiv:2107.00630.
    """

    continuous = True
    unit = "bits per element"

    def loss(
        self, problem: Problem, params: Any, schedule: Schedule, batch: NoisedBatch
    ) -> tuple[Array, Mapping[str, Array]]:
        def logsnr_and_slope(t: Array) -> tuple[Array, Array]:
            return jax.jvp(schedule.logsnr, (t,), (jnp.ones_like(t),))

        def diffusion(held: Any, inner: tuple[Array, Array]) -> Array:
            params, context, ends, power = held
            span = ends[1] - ends[0]
            value, slope = ends[0] + span * inner[0], span * inner[1]
            tangent = Tangent(schedule.num_timesteps, batch.t, value, slope, power)
            told = batch._replace(context=context)
            predicted = predict_noised(problem, params, tangent, told)
            own = problem._replace(weighting=Likelihood(), distance=L2())
            return weighted_error(own, tangent, batch.t, predicted) / jnp.log(2.0)

        ends = schedule.logsnr(jnp.array([0.0, 1.0]))
        value, slope = logsnr_and_slope(batch.t)
        span = ends[1] - ends[0]
        power = marginal_scale(schedule, batch.t)
        held = params, batch.context, ends, jax.lax.stop_gradient(power)
        inner = (value - ends[0]) / span, slope / span
        zero = jnp.zeros(())
        x_t = diffuse(schedule, batch.x0, batch.eps, zero)
        direct = Estimate(x_t / schedule.alpha(zero))
        how = {"before": zero, "variance": "large", **problem.values._asdict()}
        decoder = bits(decoder_term(schedule, direct, batch.x0, zero, **how))
        prior = bits(prior_term(schedule, batch.x0))
        inside = squared_inside(diffusion)(held, inner)
        parts = {"loss_diffusion": inside, "loss_prior": prior, "loss_decoder": decoder}
        return inside + prior + decoder, parts


class Tangent(NamedTuple):
    """The schedule that touches another one at times t (B,): value and slope of log-SNR, and power.

    power = sqrt(alpha^2 + sigma^2). It is asked at those times only.
    """

    num_timesteps: int
    t: Array
    value: Array
    slope: Array
    power: Array

    def logsnr(self, t: Times) -> OfTimes:
        return self.value + self.slope * (t - self.t)

    def alpha(self, t: Times) -> OfTimes:
        return self.power * signal_rate(self.logsnr(t))

    def sigma(self, t: Times) -> OfTimes:
        return self.power * signal_rate(-self.logsnr(t))


def squared_inside(f: Callable[..., Array]) -> Callable[[Any, Any], Array]:
    """f(held, inner) -> (B,), whose derivative in `inner`, arrays (B,), is that of f^2."""

    @jax.custom_vjp
    def run(held: Any, inner: Any) -> Array:
        return f(held, inner)

    def forward(held: Any, inner: Any) -> tuple[Array, Any]:
        out, pull = jax.vjp(f, held, inner)
        return out, (out, pull)

    def backward(saved: Any, cotangent: Array) -> tuple[Any, Any]:
        out, pull = saved
        held, inner = pull(cotangent)
        return held, jax.tree.map(lambda d: 2 * out * d, inner)

    run.defvjp(forward, backward)
    return run
