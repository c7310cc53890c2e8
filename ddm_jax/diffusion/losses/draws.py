"""The training loss: one Monte-Carlo term per example, with draws that belong to the example."""

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import fold_in, normal_like
from ddm_jax.diffusion.losses.base import Batch, LossFn, Params, Terms
from ddm_jax.diffusion.losses.noised import Draw, Problem
from ddm_jax.diffusion.losses.time_samplers import Memory, uniforms
from ddm_jax.diffusion.schedules.base import with_params


def diffusion_loss(
    problem: Problem,
    schedule,
    objective,
    times,
    size: int,
    uniform: str = "independent",
    null: int = 0,
    label_dropout: float = 0.0,
) -> LossFn:
    """The objective's loss of examples at times that `times` draws.

    Every draw (time, noise, label, network dropout) comes from the step's key and the example's
    place in the whole batch of `size`, so it does not depend on how the batch is split; `uniform`
    names a row of times.UNIFORMS. With probability `label_dropout` an example's condition is
    replaced by `null` (Ho & Salimans 2022, arXiv:2207.12598, algorithm 1).
    """

    def loss(params: Params, batch: Batch, key: Array, memory: Memory) -> Terms:
        of_time, rest = jax.random.split(key)
        keys = jax.vmap(lambda k: jax.random.split(k, 3))(fold_in(rest, batch.place))
        of_noise, of_label, of_net = (keys[:, i] for i in range(3))
        trained = with_params(schedule, params.schedule)
        u = uniforms(uniform, of_time, batch.place, size)
        t = jax.lax.stop_gradient(times.quantile(trained, u, memory))
        cond = batch.cond
        if cond is not None and label_dropout > 0:
            drop = jax.vmap(jax.random.bernoulli, (0, None))(of_label, label_dropout)
            cond = jnp.where(drop, null, cond)
        draw = Draw(batch.x0, normal_like(of_noise, batch.x0), t, cond, of_net)
        full = with_params(objective, params.objective)
        terms = full.loss(problem, params.net, trained, draw)
        return Terms(terms, t, times.weight(t, memory))

    return loss
