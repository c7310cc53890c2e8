"""The state that training begins with: the newest that is saved, or a fresh one."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from ddm_jax.config.setup import Setup
from ddm_jax.training import logs
from ddm_jax.training.checkpoint import Checkpoints
from ddm_jax.training.layout import Layout
from ddm_jax.training.processes import broadcast, together
from ddm_jax.training.step import TrainState
from ddm_jax.training.weights import fitted


def start(
    setup: Setup,
    layout: Layout,
    checkpoints: Checkpoints | None,
    progress: logs.Progress,
    *,
    borrowed: Mapping[str, Any],
) -> TrainState:
    """The newest saved state, or a fresh one, on every device of every process."""
    state = newest(setup, layout, checkpoints, progress.say)
    if state is not None:
        progress.say(f"resuming at step {int(state.step):,} on {layout.describe()}")
        return layout.place(state)
    count = f"{setup.parameter_count():,} parameters"
    progress.say(f"training on {layout.describe()}, {setup.spec.name}, {count}")
    if "init" in borrowed:
        fresh, left = fitted(jax.jit(setup.init_params)(), borrowed["init"])
        progress.say(f"starting from {setup.init.run}; {fresh_ones(left)}")
        return layout.make(functools.partial(setup.init_state, fresh))
    return layout.make(setup.init_state)


def newest(
    setup: Setup, layout: Layout, checkpoints: Checkpoints | None, say: Callable[[str], None]
) -> TrainState | None:
    """The newest saved state, in the memory of every process; None where there is none."""
    template = jax.eval_shape(setup.init_state)
    found = None
    with together(layout):
        if checkpoints:
            found = checkpoints.restore(template, TrainState._fields, say)
    if not broadcast(layout, np.array(found is not None)):
        return None
    if found is None:
        state = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), template)
    else:
        state = TrainState(**found[1])
    return broadcast(layout, state)


def fresh_ones(names: list[str]) -> str:
    """Which arrays do not come from the run that this one starts from."""
    if not names:
        return "every array is taken"
    few = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"{len(names):,} arrays do not fit and start afresh: {few}"
