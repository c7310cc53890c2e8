"""What laws of jumps share: Gaussian data, and networks of two times that know its flow."""

import jax
import jax.numpy as jnp

from ddm_jax.diffusion.analytic import gaussian, gaussian_jump
from ddm_jax.diffusion.arrays import expand
from ddm_jax.diffusion.conditions import NO_CONTEXT
from ddm_jax.diffusion.losses.noised import NoisedBatch, Problem
from ddm_jax.diffusion.losses.weightings import Simple
from ddm_jax.diffusion.noise_conds import Time
from ddm_jax.diffusion.predictions import PREDICTIONS
from ddm_jax.diffusion.schedules.rates import Flow

MEAN, STD = 0.3, 0.5
FLOW = Flow()


def exact(schedule=FLOW, prediction="velocity", end=False):
    """(params, x, ...) -> the F of the flow of N(MEAN, STD^2), moved by params[0] tanh(x).

    It is told times by Time. Without a gap in its context it knows the mean, or with `end` the end.
    """
    coefficients = PREDICTIONS[prediction]().coefficients
    jump, mean = gaussian_jump(schedule, MEAN, STD), gaussian(schedule, MEAN, STD)

    def net(params, x, noise_cond, context, keys=None):
        t = noise_cond
        skip, out, into = coefficients(schedule.alpha(t), schedule.sigma(t))
        x_t = x / expand(into, x)
        if end:
            x0 = ending(schedule, x_t, t)
        elif context.gap is None:
            x0 = mean(x_t, t).x0
        else:
            x0 = jump(x_t, t, t - context.gap).x0
        f = (x0 - expand(skip, x) * x_t) / expand(out, x)
        return f + params[0] * jnp.tanh(x)

    return net


def ending(schedule, x_t, t):
    """The x_0 at the end of the path through x_t: MEAN + STD z."""
    spread = jnp.sqrt(schedule.alpha(t) ** 2 * STD**2 + schedule.sigma(t) ** 2)
    return MEAN + STD * (x_t - expand(schedule.alpha(t) * MEAN, x_t)) / expand(spread, x_t)


def problem_of(net, prediction="velocity", space="own"):
    return Problem(net, PREDICTIONS[prediction](), Time(), Simple(space))


def draws(count=20_000, d=1, low=0.02, high=1.0):
    """Noised examples of the Gaussian at even times, with keys of their own."""
    of_x0, of_eps, own = jax.random.split(jax.random.key(3), 3)
    x0 = MEAN + STD * jax.random.normal(of_x0, (count, d))
    t = low + (high - low) * (jnp.arange(count) + 0.5) / count
    eps = jax.random.normal(of_eps, x0.shape)
    keys = jax.random.split(own, count)
    return NoisedBatch(x0, eps, t, NO_CONTEXT, None, own=keys, step=jnp.int32(0))


def slopes(objective, problem, params, batch, schedule=FLOW):
    """The derivative of each example's loss in params[0], (B,), at params (1,)."""

    def one(x0, eps, t, own, teacher=batch.teacher):
        few = NoisedBatch(x0[None], eps[None], t[None], NO_CONTEXT, None, teacher, own[None])
        few = few._replace(step=batch.step)
        return lambda p: objective.loss(problem, p, schedule, few)[0][0]

    def of(x0, eps, t, own):
        return jax.grad(one(x0, eps, t, own))(params)[0]

    return jax.jit(jax.vmap(of))(batch.x0, batch.eps, batch.t, batch.own)


def deviations(each):
    """How many standard errors the mean is from 0."""
    return abs(float(each.mean())) / float(each.std() / jnp.sqrt(len(each)))
