"""What a config describes, assembled."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import optax
from jax import Array

from ddm_jax.data.dataset import DataOptions, Spec
from ddm_jax.options.training import TrainOptions
from ddm_jax.tasks.base import RunName
from ddm_jax.training.averages import Average
from ddm_jax.training.calls import Compiled
from ddm_jax.training.compiled import in_shards
from ddm_jax.training.layout import Layout
from ddm_jax.training.optim import Optim
from ddm_jax.training.sharded import Sharded
from ddm_jax.training.step import (
    Loss,
    TrainState,
    TrainStep,
    as_it_is,
    init_state,
    make_train_step,
)

# By train.layout: (options, devices, process, processes) -> where the state is kept.
LAYOUTS: dict[str, Callable[..., Layout]] = {
    "replicated": lambda options, *where: Layout(*where),
    "sharded": lambda options, *where: Sharded(*where, group=options.fsdp),
}


@dataclass(frozen=True)
class Setup:
    """What a config describes: the task, and how it is trained; methods are pure functions."""

    name: str  # of the task, a row of TASKS
    task: Any
    seed: int
    data: DataOptions
    optim: Optim
    average: Average
    train: TrainOptions
    init: RunName
    warnings: tuple[str, ...] = ()  # what is dangerous about it

    @property
    def spec(self) -> Spec:
        """The data."""
        return self.task.spec

    def optimizer(self) -> optax.GradientTransformation:
        return self.optim.transform(self.train.steps)

    def init_params(self) -> Any:
        """Fresh parameters, a function of the seed."""
        return self.task.init(jax.random.fold_in(jax.random.key(self.seed), 0))

    def init_state(self, params: Any = None) -> TrainState:
        """The state before the first step, from `params` or a function of the seed."""
        params = self.init_params() if params is None else params
        return init_state(params, self.optimizer(), self.average, self.task.memory())

    def train_step(self, through: Callable[[Loss], Loss] = as_it_is) -> TrainStep:
        """One step, as pure functions; through: see `make_train_step`."""
        parts = self.task, self.optimizer(), self.average
        return make_train_step(*parts, guarded=self.train.forgives, through=through)

    def spread(self, layout: Layout) -> Layout:
        """The devices as `train.layout` has them keep the state; UserError where they cannot."""
        make = LAYOUTS[self.train.layout]
        return make(self.train, layout.devices, layout.process, layout.processes)

    def compiled_steps(self, layout: Layout) -> Compiled:
        """(state, feeds, constants, key) -> (state, the metrics of each), on a layout's devices."""
        if shards := self.train.deterministic_shards:
            return in_shards(self.train_step(), layout, shards)
        return layout.compiled_steps(self.train_step, self.init_state, self.train.accumulate)

    def train_key(self) -> Array:
        """The key from which every step folds its own."""
        return jax.random.fold_in(jax.random.key(self.seed), 1)

    def parameter_count(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(self.init_params)))
