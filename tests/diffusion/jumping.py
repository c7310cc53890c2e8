"""What laws of jumps share: Gaussian data, and networks of two times that know its flow."""

import jax
import jax.numpy as jnp
import optax

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


def affine(params, x, noise_cond, context, keys=None):
    """F = a x + b, where a and b are a small network's of t, and of t - s where it is told."""
    times = [noise_cond] if context.gap is None else [noise_cond, context.gap]
    h = jnp.tanh(jnp.stack(times, -1) @ params["in"] + params["bias"])
    a, b = jnp.split(h @ params["out"], 2, -1)
    return a * x + b


def trained(objective, steps=1500):
    """Parameters of `affine` after so many steps of an objective, from nothing."""
    keys = jax.random.split(jax.random.key(0), 3)
    params = {
        "in": 2 * jax.random.normal(keys[0], (1 + objective.two_times, 32)),
        "bias": jax.random.normal(keys[1], (32,)),
        "out": jnp.zeros((32, 2)),
    }
    tx, problem = optax.adam(optax.linear_schedule(0.02, 0, steps)), problem_of(affine)

    def step(carry, given):
        (params, state), (n, key) = carry, given
        of_x0, of_eps, of_t, own = jax.random.split(key, 4)
        x0 = MEAN + STD * jax.random.normal(of_x0, (256, 4))
        batch = NoisedBatch(
            x0,
            jax.random.normal(of_eps, x0.shape),
            jax.random.uniform(of_t, (256,), minval=0.01),
            NO_CONTEXT,
            None,
            own=jax.random.split(own, 256),
            step=n,
        )
        grads = jax.grad(lambda p: objective.loss(problem, p, FLOW, batch)[0].mean())(params)
        updates, state = tx.update(grads, state)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def run(params):
        given = jnp.arange(steps), jax.random.split(keys[2], steps)
        return jax.lax.scan(step, (params, tx.init(params)), given)[0][0]

    return run(params)
