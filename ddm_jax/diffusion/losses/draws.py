"""The training loss: one Monte-Carlo term per example, with draws that belong to the example."""

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import fold_in, normal_like
from ddm_jax.diffusion.losses.base import Batch, LossFn, Objective, Params, Terms
from ddm_jax.diffusion.losses.noised import NoisedBatch, Problem
from ddm_jax.diffusion.losses.time_samplers import Memory, TimeSampler, uniforms
from ddm_jax.diffusion.schedules.base import Schedule


def diffusion_loss(
    problem: Problem,
    schedule: Schedule,
    objective: Objective,
    time_sampler: TimeSampler,
    size: int,
    uniform: str = "independent",
    null: int = 0,
    class_dropout: float = 0.0,
) -> LossFn:
    """The objective's loss of examples at times that `time_sampler` draws.

    Every draw (time, noise, class, network dropout) comes from the step's key and the example's
    place in the whole batch of `size`, so it does not depend on how the batch is split; `uniform`
    names a row of time_samplers.UNIFORMS. With probability `class_dropout` an example's condition
    is replaced by `null` (Ho & Salimans 2022, arXiv:2207.12598, algorithm 1).
    """

    def loss(params: Params, batch: Batch, key: Array, memory: Memory) -> Terms:
        of_time, rest = jax.random.split(key)
        keys = jax.vmap(lambda k: jax.random.split(k, 3))(fold_in(rest, batch.place))
        of_noise, of_class, of_net = (keys[:, i] for i in range(3))
        trained = schedule.with_params(params.schedule)
        u = uniforms(uniform, of_time, batch.place, size)
        t = jax.lax.stop_gradient(time_sampler.quantile(trained, u, memory))
        cond = batch.cond
        if cond is not None and class_dropout > 0:
            drop = jax.vmap(jax.random.bernoulli, (0, None))(of_class, class_dropout)
            cond = jnp.where(drop, null, cond)
        noised = NoisedBatch(batch.x0, normal_like(of_noise, batch.x0), t, cond, of_net)
        full = objective.with_params(params.objective)
        total, parts = full.loss(problem, params.net, trained, noised)
        return Terms(total, t, time_sampler.weight(t, memory), parts)

    return loss
