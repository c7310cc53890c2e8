"""The train state and the one train step, a pure function that runs on one device or many."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from ddm_jax.diffusion.losses.base import Batch, LossFn
from ddm_jax.training.optim import Ema

LEVELS = 10  # bins of t for the loss per noise level


class TrainState(NamedTuple):
    """Everything that changes in training, as arrays."""

    step: Array
    params: Any
    ema_params: Any
    opt_state: Any
    times: Any = ()  # what the density of training times remembers


class Metrics(NamedTuple):
    """Of one step: mean loss, gradient norm before clipping, loss sums by bins of t, mean parts."""

    loss: Array
    grad_norm: Array
    level_sum: Array  # (LEVELS,)
    level_count: Array  # (LEVELS,)
    parts: Mapping[str, Array] = MappingProxyType({})  # of the loss, by name


def init_state(params, tx: optax.GradientTransformation, times: Any = ()) -> TrainState:
    """The state before the first step; the average starts as a copy of the weights."""
    copy = jax.tree.map(jnp.copy, params)
    return TrainState(jnp.zeros((), jnp.int32), params, copy, tx.init(params), times)


def make_train_step(
    loss_fn: LossFn,
    prepare: Callable[..., Batch],
    tx: optax.GradientTransformation,
    ema: Ema,
    remember: Callable[..., Any] = lambda times, t, loss: times,
    accumulate: int = 1,
    axis: str | None = None,
) -> Callable[..., tuple[TrainState, Metrics]]:
    """(state, feed, pool, key) -> (state, metrics), per device.

    The key of a step is fold_in(key, step), and draws depend on it and on an example's place in the
    whole batch, so neither on the split over devices nor on `accumulate`, the number of equal parts
    whose gradients are averaged before the one update. With `axis`, gradients and metrics are
    averaged over it before anything (clipping included) uses them. `remember` takes the state's
    memory of times, and times and losses of the whole batch in the order of their places, to the
    memory of the next step.
    """

    def grads_of(state: TrainState, batch: Batch, key: Array):
        def mean_loss(p):
            terms = loss_fn(p, batch, key, state.times)
            return (terms.weight * terms.loss).mean(), terms

        (loss, terms), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
        parts = {name: (terms.weight * part).mean() for name, part in terms.parts.items()}
        return (grads, loss, parts), (batch.place, terms.t, terms.loss)

    def step(state: TrainState, feed, pool, key: Array) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(key, state.step)
        batch = prepare(feed, pool)
        if accumulate == 1:
            means, seen = grads_of(state, batch, key)
        else:
            parts = jax.tree.map(lambda a: a.reshape(accumulate, -1, *a.shape[1:]), batch)
            first = jax.tree.map(lambda a: a[0], parts)
            totals, _ = jax.eval_shape(lambda b: grads_of(state, b, key), first)

            def add(total, part):
                means, seen = grads_of(state, part, key)
                return jax.tree.map(jnp.add, total, means), seen

            zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), totals)
            sums, seen = jax.lax.scan(add, zeros, parts)
            means = jax.tree.map(lambda a: a / accumulate, sums)
            seen = jax.tree.map(lambda a: a.reshape(-1), seen)
        if axis is not None:
            means = jax.lax.pmean(means, axis)
            seen = jax.tree.map(lambda a: jax.lax.all_gather(a, axis, tiled=True), seen)
        grads, loss, parts = means
        place, t, losses = seen
        order = jnp.argsort(place)
        t, losses = t[order], losses[order]
        level = jnp.clip((t * LEVELS).astype(jnp.int32), 0, LEVELS - 1)
        sums = jax.ops.segment_sum(losses, level, LEVELS)
        counts = jax.ops.segment_sum(jnp.ones_like(losses), level, LEVELS)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        n = state.step + 1
        ema_params = ema.update(state.ema_params, params, n)
        times = remember(state.times, t, losses)
        metrics = Metrics(loss, optax.tree.norm(grads), sums, counts, parts)
        return TrainState(n, params, ema_params, opt_state, times), metrics

    return step
