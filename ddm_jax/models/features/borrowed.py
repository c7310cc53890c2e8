"""Features of a classifier that was trained here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from ddm_jax.data.dataset import Report, Spec
from ddm_jax.models.features.base import Seen


@dataclass(frozen=True)
class OfClassifier:
    """What a run of task `classifier` sees of examples without noise: the vector that its last
    layer reads, and its log p(class | x_0).

    run: its folder, or folder@step. The right features for data of one's own, such as digits: they
    tell what the classes differ by. Distances are comparable under the same run alone.
    """

    spec: Spec
    run: str = ""

    title: ClassVar[str] = "classifier"
    asks: ClassVar[str] = "features"

    def check(self, spec: Spec) -> None:
        pass

    def classes(self, lent: Mapping[str, Any]) -> tuple[str, ...]:
        return lent[self.asks].spec.classes

    def load(self, cache: Path, report: Report) -> tuple[Any, str]:
        return (), ""

    def see(self, params: Any, x: Array, lent: Mapping[str, Any]) -> Seen:
        task = lent[self.asks]
        return Seen(*task.seen(params, task.codec.encode(x, {}), jnp.zeros(())))
