"""The state that training begins with: the newest that is saved, or a fresh one."""

import functools
from collections.abc import Mapping
from typing import Any

import jax

from ddm_jax.config.setup import Setup
from ddm_jax.training import logs
from ddm_jax.training.layout import Layout
from ddm_jax.training.saving import Saving
from ddm_jax.training.step import TrainState
from ddm_jax.training.weights import fitted


def start(
    setup: Setup,
    layout: Layout,
    checkpoints: Saving,
    progress: logs.Progress,
    *,
    borrowed: Mapping[str, Any],
) -> TrainState:
    """The newest saved state, or a fresh one, on every device of every process."""
    state = checkpoints.newest(jax.eval_shape(setup.init_state), progress.say)
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


def fresh_ones(names: list[str]) -> str:
    """Which arrays do not come from the run that this one starts from."""
    if not names:
        return "every array is taken"
    few = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"{len(names):,} arrays do not fit and start afresh: {few}"
