"""The train state and the one train step, a pure function that runs on one device or many."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from ddm_jax.diffusion.losses.base import Terms
from ddm_jax.training.averages import Average
from ddm_jax.training.base import Constants, Task, View
from ddm_jax.training.parts import over_batch

LEVELS = 10  # bins of t for the loss per noise level
OF_EXAMPLES = 2**31 - 1  # folded into a step's key for what examples are drawn with: no place


Loss = Callable[[Any], tuple[Array, Terms]]  # parameters -> (the mean, what it is made of)


class TrainState(NamedTuple):
    """Everything that changes in training, as arrays."""

    step: Array
    params: Any
    ema_params: Any  # what the average keeps: of the plain one, the averaged parameters
    opt_state: Any
    memory: Any = ()  # what the task remembers of losses


class Metrics(NamedTuple):
    """Of one step: mean loss and parts, gradient norm before clipping, sums of both by bins of t.

    finite: whether the step may count. A task without noise levels has no sums.
    """

    loss: Array
    grad_norm: Array
    finite: Array
    level_sum: Array | None = None  # (LEVELS,)
    level_count: Array | None = None  # (LEVELS,)
    parts: Mapping[str, Array] = MappingProxyType({})  # by name
    parts_by_level: Mapping[str, Array] = MappingProxyType({})  # (LEVELS,) each


class Means(NamedTuple):
    """Over examples: the gradient, the loss and its parts."""

    grads: Any
    loss: Array
    parts: Mapping[str, Array]


class Seen(NamedTuple):
    """What became of each example (B,): its place in the whole batch, its time, loss and parts."""

    place: Array
    t: Array | None
    loss: Array
    parts: Mapping[str, Array]


def init_state(
    params: Any, tx: optax.GradientTransformation, average: Average, memory: Any = ()
) -> TrainState:
    """The state before the first step."""
    kept, opt_state = average.init(params), tx.init(params)
    return TrainState(jnp.zeros((), jnp.int32), params, kept, opt_state, memory)


class TrainStep(NamedTuple):
    """One train step, as two pure functions.

    gradients: (state, feed, constants, key) -> (means over the feed, what was seen of each
    example). update: (state, means over the whole batch, all that was seen) -> (state, metrics).
    Their operations bear these names in traces.
    """

    gradients: Callable[[TrainState, Any, Constants, Array], tuple[Means, Seen]]
    update: Callable[[TrainState, Means, Seen], tuple[TrainState, Metrics]]

    def whole(
        self, accumulate: int = 1, axis: str | None = None
    ) -> Callable[[TrainState, Any, Constants, Array], tuple[TrainState, Metrics]]:
        """(state, feed, constants, key) -> (state, metrics), per device.

        accumulate: the number of equal parts of a device's batch whose gradients are averaged
        before the one update. With `axis`, gradients and metrics are averaged over it before
        anything (clipping included) uses them.
        """

        def step(
            state: TrainState, feed: Any, constants: Constants, key: Array
        ) -> tuple[TrainState, Metrics]:
            def grads_of(part: Any) -> tuple[Means, Seen]:
                return self.gradients(state, part, constants, key)

            return self.update(state, *over_batch(grads_of, feed, accumulate, axis=axis))

        return step


def as_it_is(loss: Loss) -> Loss:
    return loss


def make_train_step(
    task: Task,
    tx: optax.GradientTransformation,
    average: Average,
    *,
    guarded: bool = False,
    through: Callable[[Loss], Loss] = as_it_is,
) -> TrainStep:
    """The train step of a task.

    The key of a step is fold_in(key, step), and draws depend on it and on an example's place in the
    whole batch, so on no way of taking that in parts. Where `guarded`, a step whose loss, gradient
    or update is not finite leaves the state as it was, but for the counts of steps. through: makes
    of the loss of whole parameters that of those in the state, by which the gradient is taken.
    """

    @jax.named_scope("gradients")
    def gradients(
        state: TrainState, feed: Any, constants: Constants, key: Array
    ) -> tuple[Means, Seen]:
        key = jax.random.fold_in(key, state.step)
        view = View(state.step, average.read(state.ema_params), state.memory)
        batch = task.prepare(feed, constants, jax.random.fold_in(key, OF_EXAMPLES))

        def mean_loss(params: Any) -> tuple[Array, Terms]:
            terms = task.loss(params, batch, key, borrowed=constants.borrowed, view=view)
            return (terms.weight * terms.loss).mean(), terms._replace(parts=dict(terms.parts))

        (loss, terms), grads = jax.value_and_grad(through(mean_loss), has_aux=True)(state.params)
        parts = {name: (terms.weight * part).mean() for name, part in terms.parts.items()}
        return Means(grads, loss, parts), Seen(batch.place, terms.t, terms.loss, terms.parts)

    @jax.named_scope("update")
    def update(state: TrainState, means: Means, seen: Seen) -> tuple[TrainState, Metrics]:
        grads, loss, parts = means
        order = jnp.argsort(seen.place)
        seen = jax.tree.map(lambda a: a[order], seen)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        n = state.step + 1
        kept = average.update(state.ema_params, params, n, len(order))
        memory = task.remember(state.memory, seen.t, seen.loss)
        norm, (sums, count, parts_by_level) = optax.tree.norm(grads), by_level(seen)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        new = TrainState(n, params, kept, opt_state, memory)
        if guarded:
            finite &= jnp.isfinite(optax.tree.norm(updates))
            old = state._replace(step=n, opt_state=counted(state.opt_state, 1))
            new = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)
        return new, Metrics(loss, norm, finite, sums, count, parts, parts_by_level)

    return TrainStep(gradients, update)


def counted(opt_state: Any, steps: Any) -> Any:
    """The memory of an optimiser `steps` later: what it counts, in whole numbers, are steps."""

    def later(leaf: Any) -> Any:
        return leaf + steps if jnp.issubdtype(leaf.dtype, jnp.integer) else leaf

    return jax.tree.map(later, opt_state)


def by_level(seen: Seen) -> tuple[Array | None, Array | None, dict[str, Array]]:
    """(sums of losses, numbers of examples, sums of parts), (LEVELS,) each, in equal bins of t."""
    if seen.t is None:
        return None, None, {}
    level = jnp.clip((seen.t * LEVELS).astype(jnp.int32), 0, LEVELS - 1)

    def total(values: Array) -> Array:
        return jax.ops.segment_sum(values, level, LEVELS)

    parts = {name: total(part) for name, part in seen.parts.items()}
    return total(seen.loss), total(jnp.ones_like(seen.loss)), parts
