"""The train state and the one train step, a pure function that runs on one device or many."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from ddm_jax.diffusion.losses import Batch, LossFn
from ddm_jax.training.optim import Ema

LEVELS = 10  # bins of t for the loss per noise level


class TrainState(NamedTuple):
    """Everything that changes in training, as arrays."""

    step: Array
    params: Any
    ema_params: Any
    opt_state: Any


class Metrics(NamedTuple):
    """Of one step: mean loss, gradient norm before clipping, and loss sums by bins of t."""

    loss: Array
    grad_norm: Array
    level_sum: Array  # (LEVELS,)
    level_count: Array  # (LEVELS,)


def init_state(params, tx: optax.GradientTransformation) -> TrainState:
    """The state before the first step; the average starts as a copy of the weights."""
    copy = jax.tree.map(jnp.copy, params)
    return TrainState(jnp.zeros((), jnp.int32), params, copy, tx.init(params))


def make_train_step(
    loss_fn: LossFn,
    prepare: Callable[..., Batch],
    tx: optax.GradientTransformation,
    ema: Ema,
    accumulate: int = 1,
    axis: str | None = None,
) -> Callable[..., tuple[TrainState, Metrics]]:
    """(state, feed, pool, key) -> (state, metrics), per device.

    The key of a step is fold_in(key, step), that of an example fold_in(that, its place in the
    whole batch), so the draws depend neither on the split over devices nor on `accumulate`, the
    number of equal parts whose gradients are averaged before the one update. With `axis`,
    gradients and metrics are averaged over it before anything (clipping included) uses them.
    """

    def grads_of(params, batch: Batch, key: Array):
        def mean_loss(p):
            terms = loss_fn(p, batch, key)
            return terms.loss.mean(), terms

        (loss, terms), grads = jax.value_and_grad(mean_loss, has_aux=True)(params)
        level = jnp.clip((terms.t * LEVELS).astype(jnp.int32), 0, LEVELS - 1)
        sums = jax.ops.segment_sum(terms.loss, level, LEVELS)
        counts = jax.ops.segment_sum(jnp.ones_like(terms.loss), level, LEVELS)
        return grads, (loss, sums, counts)

    def step(state: TrainState, feed, pool, key: Array) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(key, state.step)
        batch = prepare(feed, pool)
        if accumulate == 1:
            grads, (loss, sums, counts) = grads_of(state.params, batch, key)
        else:
            parts = jax.tree.map(lambda a: a.reshape(accumulate, -1, *a.shape[1:]), batch)
            totals = jax.eval_shape(
                lambda b: grads_of(state.params, b, key), jax.tree.map(lambda a: a[0], parts)
            )

            def add(total, part):
                return jax.tree.map(jnp.add, total, grads_of(state.params, part, key)), None

            zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), totals)
            (grads, (loss, sums, counts)), _ = jax.lax.scan(add, zeros, parts)
            grads, loss = jax.tree.map(lambda a: a / accumulate, (grads, loss))
        if axis is not None:
            grads, loss = jax.lax.pmean((grads, loss), axis)
            sums, counts = jax.lax.psum((sums, counts), axis)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        n = state.step + 1
        ema_params = ema.update(state.ema_params, params, n)
        metrics = Metrics(loss, optax.tree.norm(grads), sums, counts)
        return TrainState(n, params, ema_params, opt_state), metrics

    return step
