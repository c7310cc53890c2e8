"""The training loss: one Monte-Carlo term per example, with draws that belong to the example."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jax import Array

from ddm_jax.diffusion.arrays import fold_in, normal_like
from ddm_jax.diffusion.conditions import Embedding, Raw, drop, dropped, with_labels
from ddm_jax.diffusion.losses.base import Batch, Memory, Objective, Params, Terms, TimeSampler
from ddm_jax.diffusion.losses.noised import NoisedBatch, Problem
from ddm_jax.diffusion.losses.time_samplers import uniforms
from ddm_jax.diffusion.process import Denoise
from ddm_jax.diffusion.schedules.base import Schedule

Teacher = Callable[[Raw], Denoise]  # the denoiser of another run under raw conditions


class Draws(NamedTuple):
    """How a batch of `size` examples is drawn from, and what it is drawn for.

    uniform: a row of time_samplers.UNIFORMS; class_dropout: the share of examples whose condition
    is replaced by the null.
    """

    size: int
    uniform: str = "independent"
    class_dropout: float = 0.0

    def times(
        self,
        schedule: Schedule,
        time_sampler: TimeSampler,
        memory: Memory,
        key: Array,
        *,
        place: Array,
    ) -> Array:
        """Times (B,) for examples at `place` of the whole batch; no gradient passes them."""
        u = uniforms(self.uniform, key, place, self.size)
        return jax.lax.stop_gradient(time_sampler.quantile(schedule, u, memory))


def diffusion_loss(
    problem: Problem,
    schedule: Schedule,
    objective: Objective,
    time_sampler: TimeSampler,
    *,
    embedding: Embedding,
    draws: Draws,
) -> Callable[..., Terms]:
    """(params, batch, key, memory, *, teacher=None, step=None) -> the objective's Terms.

    Every draw (time, noise, class, network dropout) comes from the step's key and the example's
    place in the whole batch, so it does not depend on how the batch is split.
    """

    def loss(
        params: Params,
        batch: Batch,
        key: Array,
        memory: Memory,
        *,
        teacher: Teacher | None = None,
        step: Array | int | None = None,
    ) -> Terms:
        of_time, rest = jax.random.split(key)
        keys = jax.vmap(lambda k: jax.random.split(k, 3))(fold_in(rest, batch.place))
        of_noise, of_class, of_net = (keys[:, i] for i in range(3))
        trained = schedule.with_params(params.schedule)
        t = draws.times(trained, time_sampler, memory, of_time, place=batch.place)
        raw = batch.cond
        if draws.class_dropout > 0:
            raw = drop(embedding, raw, of_class, draws.class_dropout)
        eps = normal_like(of_noise, batch.x0) if batch.noise is None else batch.noise
        context = embedding.embed(params.cond, raw)
        null = embedding.embed(params.cond, embedding.null(len(t))) if objective.asks_null else None
        if batch.augment_labels is not None:
            # Also where the condition was dropped: x0 is changed all the same.
            context = with_labels(context, params.augment, batch.augment_labels)
            if null is not None:
                null = with_labels(null, params.augment, batch.augment_labels)
        asked = None if teacher is None else teacher(raw)
        own = fold_in(of_class, 1)
        noised = NoisedBatch(batch.x0, eps, t, context, of_net, asked, own, step)
        if null is not None:
            told = ~dropped(of_class, draws.class_dropout)
            noised = noised._replace(null=null, told=told)
        full = objective.with_params(params.objective)
        total, parts = full.loss(problem, params.net, trained, noised)
        return Terms(total, t, time_sampler.weight(t, memory), parts)

    return loss
