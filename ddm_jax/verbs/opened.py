"""A run that a verb uses: its setup, its folder, and the weights it computes with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ddm_jax.borrowing import check_latents, use
from ddm_jax.config.setup import Setup
from ddm_jax.runs import Run
from ddm_jax.tasks.base import Weights
from ddm_jax.training.layout import Layout, all_devices, alone
from ddm_jax.training.processes import broadcast, together

Origins = Mapping[str, dict[str, Any]]  # of borrowed weights, by role: their step and sha256


class Loaded(NamedTuple):
    """Weights on every process's devices, the step of the run's own, and whence all of them are.

    Origins are known to the first process, which writes; that of the run's own has no role.
    """

    step: int
    weights: Weights
    origins: Origins


@dataclass(frozen=True)
class Opened:
    """lent: the runs that it borrows, by role."""

    run: Run
    setup: Setup
    lent: Mapping[str, Run]

    @property
    def folder(self) -> Path:
        return self.run.folder

    def load(self, layout: Layout | None = None, raw: bool = False) -> Loaded:
        """The averaged weights of the run and of those it borrows, on all devices by default.

        raw: those of the run's last step instead. The first process reads them, so that all have
        those of the same step.
        """
        layout = layout or all_devices()
        found = load({"": self.run, **self.lent}, layout, raw)
        with together(layout):
            check_latents(self.setup.spec, found.origins, self.folder)
        return found


def open_run(workdir: str | Path, overrides: Sequence[str] = ()) -> Opened:
    """The run in `workdir`; overrides that touch no weight, as `--config.sampler.name=heun`."""
    return Opened(*use(Path(workdir), overrides))


def load(runs: Mapping[str, Run], layout: Layout, raw: bool = False) -> Loaded:
    """The averaged weights of runs by role; that without a role is the run's own.

    raw: of that one alone, those of its last step instead.
    """
    with together(layout):
        if layout.first:
            saved = {role: run.saved(raw and not role) for role, run in runs.items()}
            steps = {role: np.array(found.step) for role, found in saved.items()}
            trees = {role: found.params for role, found in saved.items()}
            origins = {role: found.origin for role, found in saved.items()}
        else:  # arrays of the shapes that the first process sends
            steps, origins = dict.fromkeys(runs, np.array(0)), {}
            like = {role: run.shapes() for role, run in runs.items()}
            trees = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), like)
    steps, trees = broadcast(layout, (steps, trees))
    borrowed = {role: tree for role, tree in trees.items() if role}
    weights = alone(layout).replicate(Weights(trees.get("", ()), borrowed))
    return Loaded(int(steps.get("", 0)), weights, origins)
