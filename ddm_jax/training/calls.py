"""Calls of a compiled program, each of which may take several train steps."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.options.training import TrainOptions

Step = Callable[[Any, Any, Any, Array], tuple[Any, Any]]  # of one feed
Compiled = Callable[..., tuple[Any, tuple[Any, ...]]]  # of several, see `in_turn`


def calls(first: int, options: TrainOptions) -> Iterator[range]:
    """The steps of each call, counted from 0, from `first` to the last.

    They are `steps_per_call`, and one where a checkpoint, samples or a measurement are due before
    so many are done.
    """
    periods = options.save_every, options.sample_every, options.evaluate_every
    while first < options.steps:
        due = min(first - first % period + period for period in periods if period)
        last = first + options.steps_per_call
        last = last if last <= min(due, options.steps) else first + 1
        yield range(first, last)
        first = last


def in_turn(step: Step) -> Compiled:
    """(state, feeds, constants, key) -> (state, the metrics of each): a step with each of `feeds`.

    Several are one loop of the program, between whose rounds the host is not asked.
    """

    def steps(
        state: Any, feeds: tuple[Any, ...], constants: Any, key: Array
    ) -> tuple[Any, tuple[Any, ...]]:
        if len(feeds) == 1:
            state, metrics = step(state, feeds[0], constants, key)
            return state, (metrics,)
        stacked = jax.tree.map(lambda *a: jnp.stack(a), *feeds)
        state, metrics = jax.lax.scan(lambda s, fed: step(s, fed, constants, key), state, stacked)
        return state, tuple(jax.tree.map(lambda a, k=k: a[k], metrics) for k in range(len(feeds)))

    return steps
