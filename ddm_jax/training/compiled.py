"""The train step in equal parts of a batch that make any devices agree to the bit."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import Array

from ddm_jax.training.calls import Compiled
from ddm_jax.training.layout import Layout
from ddm_jax.training.parts import in_order
from ddm_jax.training.processes import allgather
from ddm_jax.training.step import TrainStep


def in_shards(step: TrainStep, layout: Layout, shards: int) -> Compiled:
    """The step in equal parts of the whole batch, summed in order: alike on any devices to the bit.

    How a compiler rounds depends on all of a program, and the program of a whole step differs with
    the number of devices. So there are two that do not: of the gradient of one part, which each
    device runs for its own, and of the update, which each runs on all of them. That takes the
    memory of `shards` gradients on every device.
    """
    gradients = jax.jit(step.gradients)
    update = jax.jit(
        lambda state, results: step.update(state, *in_order(results)), donate_argnums=0
    )
    mine = shards // layout.count

    def one(state: Any, feed: Any, constants: Any, key: Array) -> tuple[Any, Any]:
        states, parts = apart(layout, state), apart(layout, feed)
        if layout.axis is not None:
            parts = [jax.tree.map(lambda a: a[0], part) for part in parts]
        rest = zip(apart(layout, constants), apart(layout, key), strict=True)
        results = [
            gradients(states[d], part, *given)
            for d, given in enumerate(rest)
            for part in dealt(parts[d], mine)
        ]
        results = everywhere(layout, results)
        done = [
            update(own, jax.device_put(results, device))
            for own, device in zip(states, layout.devices, strict=True)
        ]
        states, metrics = zip(*done, strict=True)
        return joined(states, state), metrics[0]

    def compiled(
        state: Any, feeds: Sequence[Any], constants: Any, key: Array
    ) -> tuple[Any, tuple[Any, ...]]:
        found = []
        for feed in feeds:
            state, metrics = one(state, feed, constants, key)
            found.append(metrics)
        return state, tuple(found)

    return compiled


def apart(layout: Layout, tree: Any) -> list[Any]:
    """What a layout has replicated or sharded, as each of its devices has it."""
    if layout.axis is None:
        return [tree]
    return [
        jax.tree.map(lambda a, d=d: a.addressable_shards[d].data, tree)
        for d in range(len(layout.devices))
    ]


def joined(trees: Sequence[Any], like: Any) -> Any:
    """The same tree on every device as one, which lies as `like` does."""
    if len(trees) == 1:
        return trees[0]
    return jax.tree.map(
        lambda a, *own: jax.make_array_from_single_device_arrays(a.shape, a.sharding, list(own)),
        like,
        *trees,
    )


def dealt(feed: Any, count: int) -> list[Any]:
    """Leaves (n, ...) in `count` equal parts."""
    size = len(jax.tree.leaves(feed)[0]) // count
    return [jax.tree.map(lambda a, k=k: a[k * size : (k + 1) * size], feed) for k in range(count)]


def everywhere(layout: Layout, results: list[Any]) -> list[Any]:
    """The results of all processes, in their order."""
    if layout.processes == 1:
        return results
    stacked = allgather(layout, jax.tree.map(lambda *a: np.stack(a), *jax.device_get(results)))
    return [
        jax.tree.map(lambda a, p=p, k=k: a[p, k], stacked)
        for p in range(layout.processes)
        for k in range(len(results))
    ]
