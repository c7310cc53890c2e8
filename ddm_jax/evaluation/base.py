"""What a metric is: a program that measures examples, and what its numbers say together."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
from jax import Array

from ddm_jax.tasks.base import Weights

Rows = Mapping[str, np.ndarray]  # per example, (n, ...)


class Metric(Protocol):
    """A row of METRICS."""

    task: ClassVar[str]  # the task whose runs it measures, a row of TASKS
    of_example: ClassVar[str]  # the rows that are written example by example, "" for none
    higher: ClassVar[bool]  # whether a higher headline is better

    def check(self, task: Any) -> None:
        """Raises ValueError where data like those of the run cannot be measured."""
        ...

    def measure(
        self, task: Any, weights: Weights, columns: Mapping[str, Array], key: Array
    ) -> Mapping[str, Array]:
        """Arrays with a row for each example, of its own key (B,) alone.

        columns: those of the examples that hold numbers, (B, ...) each, "x" as the data have it.
        """
        ...

    def settings(self, task: Any) -> dict[str, Any]:
        """What shapes the numbers beside the weights and the data."""
        ...

    def summary(self, task: Any, rows: Rows) -> dict[str, Any]:
        """What is written of all examples."""
        ...

    def headline(self, summary: Mapping[str, Any]) -> tuple[str, float]:
        """The name of its number, and the number."""
        ...

    def lines(self, summary: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
        """The summary for the eye."""
        ...


def mean_and_error(values: np.ndarray) -> dict[str, float]:
    """Mean and standard error over examples (n,)."""
    values = np.asarray(values, np.float64)
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return {"mean": float(values.mean()), "standard_error": float(error)}


def shown(of: Mapping[str, float]) -> str:
    """`0.1234 +- 0.0056`."""
    return f"{of['mean']:.4f} +- {of['standard_error']:.4f}"
