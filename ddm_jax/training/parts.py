"""The gradient of a batch: means over its examples, taken in parts, over devices, or in order."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

Gradients = Callable[[Any], tuple[Any, Any]]  # part of a feed -> (means over it, all of it)


def over_batch(
    grads_of: Gradients, feed: Any, accumulate: int, *, axis: str | None
) -> tuple[Any, Any]:
    """(means over the whole batch, what was seen of each example) of `grads_of`.

    feed: the leaves (B / devices, ...) of this device. accumulate: equal parts of it that are gone
    through one after the other, which saves memory.
    """
    means, seen = in_parts(grads_of, feed, accumulate)
    if axis is not None:
        means = jax.lax.pmean(means, axis)
        seen = jax.tree.map(lambda a: jax.lax.all_gather(a, axis, tiled=True), seen)
    return means, seen


def in_parts(grads_of: Gradients, feed: Any, count: int) -> tuple[Any, Any]:
    """grads_of(feed) from `count` equal parts, one after the other: means averaged, all seen."""
    if count == 1:
        return grads_of(feed)
    parts = jax.tree.map(lambda a: a.reshape(count, -1, *a.shape[1:]), feed)
    totals, _ = jax.eval_shape(grads_of, jax.tree.map(lambda a: a[0], parts))

    def add(total: Any, part: Any) -> tuple[Any, Any]:
        means, seen = grads_of(part)
        return jax.tree.map(jnp.add, total, means), seen

    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), totals)
    sums, seen = jax.lax.scan(add, zeros, parts)
    means = jax.tree.map(lambda a: a / count, sums)
    return means, jax.tree.map(lambda a: a.reshape(-1), seen)


def in_order(results: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    """As `over_batch`, from what `grads_of` gave of equal parts, summed in their order."""
    means, seen = zip(*results, strict=True)
    total = means[0]
    for one in means[1:]:
        total = jax.tree.map(jnp.add, total, one)
    whole = jax.tree.map(lambda *parts: jnp.concatenate(parts), *seen)
    return jax.tree.map(lambda a: a / len(means), total), whole
