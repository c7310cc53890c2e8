"""The objective of variational diffusion models, which trains the schedule with the network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.likelihood.vlb import bits, decoder_term, prior_term
from ddm_jax.diffusion.losses.distances import L2
from ddm_jax.diffusion.losses.noised import Draw, Problem, look, weighted_error
from ddm_jax.diffusion.losses.weightings import Likelihood
from ddm_jax.diffusion.process import Estimate, diffuse
from ddm_jax.diffusion.schedules.base import Schedule


@dataclass(frozen=True)
class VDM:
    """The bound in continuous time, in bits per element; it trains a learned schedule as well.

    -1/2 dSNR/dt |x0_hat - x_0|^2 + L_prior + L_decoder, t uniform. The mean does not depend on the
    log-SNR between its ends, so a schedule's interior follows the gradient of the square, which
    lowers the variance; the ends follow the bound itself. The decoder takes x_0 from
    x_t / alpha at t = 0, without the network. Kingma et al. 2021, arXiv:2107.00630.
    """

    continuous: ClassVar[bool] = True
    unit: ClassVar[str] = "bits per element"

    @property
    def learned(self) -> bool:
        return False

    def loss(self, problem: Problem, params, schedule: Schedule, draw: Draw) -> Array:
        def logsnr_and_slope(t):
            return jax.jvp(schedule.logsnr, (t,), (jnp.ones_like(t),))

        def diffusion(held, inner):
            params, ends, power = held
            span = ends[1] - ends[0]
            tangent = Tangent(draw.t, ends[0] + span * inner[0], span * inner[1], power)
            seen = look(problem, params, tangent, draw)
            own = problem._replace(weighting=Likelihood(), error=L2())
            return weighted_error(own, tangent, draw.t, seen) / jnp.log(2.0)

        ends = schedule.logsnr(jnp.array([0.0, 1.0]))
        value, slope = logsnr_and_slope(draw.t)
        span = ends[1] - ends[0]
        power = jnp.sqrt(schedule.alpha(draw.t) ** 2 + schedule.sigma(draw.t) ** 2)
        held = params, ends, jax.lax.stop_gradient(power)
        inner = (value - ends[0]) / span, slope / span
        zero = jnp.zeros(())
        x_t = diffuse(schedule, draw.x0, draw.eps, zero)
        direct = Estimate(x_t / schedule.alpha(zero))
        decoder = decoder_term(schedule, direct, draw.x0, zero, zero, "large", *problem.values)
        rest = bits(decoder) + bits(prior_term(schedule, draw.x0))
        return squared_inside(diffusion)(held, inner) + rest


class Tangent(NamedTuple):
    """The schedule that touches another one at times t (B,): value and slope of log-SNR, and power.

    power = sqrt(alpha^2 + sigma^2). It is asked at those times only.
    """

    t: Array
    value: Array
    slope: Array
    power: Array

    def logsnr(self, t: Array) -> Array:
        return self.value + self.slope * (t - self.t)

    def alpha(self, t: Array) -> Array:
        return self.power * jnp.sqrt(jax.nn.sigmoid(self.logsnr(t)))

    def sigma(self, t: Array) -> Array:
        return self.power * jnp.sqrt(jax.nn.sigmoid(-self.logsnr(t)))


def squared_inside(f: Callable[..., Array]) -> Callable[[Any, Any], Array]:
    """f(held, inner) -> (B,), whose derivative in `inner`, arrays (B,), is that of f^2."""

    @jax.custom_vjp
    def run(held, inner):
        return f(held, inner)

    def forward(held, inner):
        out, pull = jax.vjp(f, held, inner)
        return out, (out, pull)

    def backward(saved, cotangent):
        out, pull = saved
        held, inner = pull(cotangent)
        return held, jax.tree.map(lambda d: 2 * out * d, inner)

    run.defvjp(forward, backward)
    return run
