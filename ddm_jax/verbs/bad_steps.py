"""Steps that are not finite: what is written of them, and what follows."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ddm_jax import files
from ddm_jax.config.setup import Setup
from ddm_jax.data.pipeline import Stretch
from ddm_jax.errors import RunError
from ddm_jax.training import logs
from ddm_jax.training.layout import Layout
from ddm_jax.training.processes import broadcast, together
from ddm_jax.training.saving import Saving
from ddm_jax.training.step import Metrics

MOST_ROLLBACKS = 3


class BadSteps:
    """Counts steps that are not finite, and writes a line of `bad_steps.jsonl` for each.

    A line holds the step, its loss and gradient norm, the indices of its examples, the key that its
    draws come from, and what followed: so the step can be made again by itself. Opened at a step it
    forgets what an interrupted run had written beyond it.
    """

    def __init__(
        self,
        setup: Setup,
        layout: Layout,
        workdir: Path,
        step: int,
        *,
        checkpoints: Saving,
        say: Callable[[str], None],
    ):
        self._setup, self._layout, self._checkpoints, self._say = setup, layout, checkpoints, say
        self._path = workdir / "bad_steps.jsonl"
        kept = []
        with together(layout):
            if layout.first and self._path.exists():
                rows = logs.read(self._path)
                known = [row for row in rows if isinstance(row.get("step"), int)]
                kept = [row for row in known if row["step"] <= step]
                files.write_text(self._path, "".join(json.dumps(row) + "\n" for row in kept))
        rollbacks = sum(row.get("then") == "rollback" for row in kept)
        counts = broadcast(layout, np.array([rollbacks, _in_a_row(kept, step)]))
        self._rollbacks, self._in_a_row = map(int, counts)

    def went_wrong(self, step: int, metrics: Metrics) -> bool:
        """Whether the weights are to be those of the newest checkpoint again after this step.

        RunError where training is to stop.
        """
        self._in_a_row = 0 if metrics.finite else self._in_a_row + 1
        if metrics.finite:
            return False
        options = self._setup.train
        then = options.on_bad_step if self._in_a_row >= options.bad_steps else "skip"
        exhausted = then == "rollback" and self._rollbacks == MOST_ROLLBACKS
        then = "stop" if exhausted else then
        with together(self._layout):
            if self._layout.first:
                self._write(step, metrics, then)
        numbers = f"loss {metrics.loss}, gradient norm {metrics.grad_norm}"
        what = f"step {step:,}: {numbers} {logs.bad_level(metrics)}"
        if exhausted:
            what += f", after {MOST_ROLLBACKS} rollbacks"
        if then == "stop":
            raise diverged(what, self._checkpoints)
        if then == "rollback":
            self._rollbacks, self._in_a_row = self._rollbacks + 1, 0
        self._say(f"{what}; its update is left out, see {self._path}")
        return then == "rollback"

    def _write(self, step: int, metrics: Metrics, then: str) -> None:
        setup = self._setup
        stretch = Stretch(setup.spec.count, setup.train.batch, setup.seed)
        key = jax.random.fold_in(setup.train_key(), step - 1)
        row = {
            "step": step,
            "loss": _number(metrics.loss),
            "grad_norm": _number(metrics.grad_norm),
            "examples": stretch.indices(step - 1).tolist(),
            "key": jax.random.key_data(key).tolist(),
            "then": then,
        }
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def _in_a_row(rows: Sequence[Mapping[str, Any]], step: int) -> int:
    """How many steps up to `step` were left out one after the other since the last rollback."""
    skipped = {row["step"] for row in rows if row.get("then") == "skip"}
    return next(n for n in itertools.count() if step - n not in skipped)


def _number(value: Any) -> float | str:
    """As JSON has it, which knows no number that is not finite."""
    return float(value) if np.isfinite(value) else str(value)


def diverged(what: str, checkpoints: Saving) -> RunError:
    """What ends a run whose numbers are not finite."""
    saved = checkpoints.steps()
    return RunError(
        f"{what}; nothing of it is saved, the newest checkpoint is step "
        f"{saved[0] if saved else 'none'}. Lower optim.lr, or raise optim.warmup or optim.eps; "
        "train.on_bad_step=skip leaves such steps out"
    )
