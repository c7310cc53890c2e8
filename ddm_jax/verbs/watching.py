"""Measure a run while it trains, and know which of its checkpoints is the best."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ddm_jax import files
from ddm_jax.errors import RunError, UserError
from ddm_jax.evaluation import METRICS
from ddm_jax.evaluation.sets import SET_METRICS
from ddm_jax.runs import best
from ddm_jax.tasks.base import Weights
from ddm_jax.training import logs
from ddm_jax.training.layout import Layout
from ddm_jax.training.processes import broadcast, together
from ddm_jax.training.weights import digest_of
from ddm_jax.verbs.evaluating import check, make_evaluation, record
from ddm_jax.verbs.opened import Loaded, Opened
from ddm_jax.verbs.sampling import Say


class Watch:
    """Measures the averaged weights of a run by `evaluate.metrics`, every `train.evaluate_every`
    steps and at the last one.

    The first metric tells the best step, which `best.json` names with its number. lent: the weights
    that the run borrows, and whence they are. All processes must construct and call it.
    """

    def __init__(self, opened: Opened, lent: Loaded, layout: Layout):
        self._opened, self._lent, self._layout = opened, lent, layout
        self._options = opened.setup.train
        self._first = opened.setup.task.evaluate.metrics[0]
        with together(layout):
            check(opened)
            if opened.setup.task.evaluate.weights != "averaged":
                raise UserError(
                    "train.evaluate_every measures the averaged weights; leave evaluate.weights"
                )
        self._evaluation = make_evaluation(opened, lent, layout)

    @property
    def best(self) -> int | None:
        """The step that is the best so far, as the first process knows."""
        return best(self._opened.folder).get("step")

    def due(self, step: int) -> bool:
        """Whether the weights after `step` are measured."""
        return step % self._options.evaluate_every == 0 or step == self._options.steps

    def begin(self, params: Any, step: int, say: Say) -> None:
        """Before the first step at hand: forget a best one that lies beyond, and measure this one
        where a run was interrupted before it could."""
        folder = self._opened.folder
        with together(self._layout):
            if self._layout.first and (self.best or 0) > step:
                (folder / "best.json").unlink()
            there = self._layout.first and self._measured(step)
        if self.due(step) and step and not broadcast(self._layout, np.array(there)):
            self.measure(params, step, say)

    def _measured(self, step: int) -> bool:
        """Whether the first metric of this step is among the results."""
        for row in logs.read(self._opened.folder / "evaluation" / "results.jsonl"):
            match row:
                case {"metric": self._first, "protocol": {"step": known}} if known == step:
                    return True
        return False

    def measure(self, params: Any, step: int, say: Say) -> None:
        """Of averaged parameters on every device; what cannot be measured is said, and no more."""
        opened, layout = self._opened, self._layout
        origin = {"step": step, "sha256": digest_of(params)}
        weights = Weights(params, self._lent.weights.borrowed)
        loaded = Loaded(step, weights, {**self._lent.origins, "": origin})
        try:
            found = self._evaluation(loaded)
        except RunError as error:
            say(f"step {step:,} is not measured: {error}")
            return
        with together(layout):
            if not layout.first:
                return
            record(opened, found)
            for _, lines in found:
                say("\n".join(lines))
            result, known = found[0][0], best(opened.folder)
            if not known or known["name"] != result.name or self._better(result.value, known):
                about = {"step": step, "name": result.name, "value": result.value}
                files.write_json(opened.folder / "best.json", about)
                say(f"step {step:,} is the best so far by {result.name}")

    def _better(self, value: float, known: Mapping[str, Any]) -> bool:
        higher = (METRICS | SET_METRICS)[self._first].higher
        return value > known["value"] if higher else value < known["value"]
