"""The training loss: one Monte-Carlo term per example, with draws that belong to the example."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.core import fold_in, normal_like, with_params
from ddm_jax.diffusion.seen import Draw, Problem
from ddm_jax.diffusion.times import Memory, uniforms


class Batch(NamedTuple):
    """Examples x0 (B, ...), conditions (B,) int or None, and places (B,) in the whole batch."""

    x0: Array
    cond: Array | None
    place: Array


class Params(NamedTuple):
    """What is trained: parameters of the network, the schedule and the objective, () for none."""

    net: Any
    schedule: Any = ()
    objective: Any = ()


class Terms(NamedTuple):
    """Per-example loss (B,), the time (B,) at which it was taken, its factor (B,) in the mean."""

    loss: Array
    t: Array
    weight: Array


LossFn = Callable[[Params, Batch, Array, Memory], Terms]  # (params, batch, key, memory of times)


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
