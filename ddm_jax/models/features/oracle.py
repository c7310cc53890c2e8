"""What the oracle of a synthetic set reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.data.dataset import Report, Spec
from ddm_jax.data.oracles import ORACLES
from ddm_jax.models.features.base import OwnFeatures, Seen

NONE = "none of them"
_SURE = 20.0  # log-odds of the class that is read, against each of the others


@dataclass(frozen=True)
class OfOracle(OwnFeatures):
    """The class that is read from an example by the rule that the set was drawn by, or that it is
    of none: exact, and nothing to train.

    Features are 1 for that class and 0 for the others, so that distances compare how often each is
    drawn; log_probs are sure of it. For synthetic sets alone, those of ORACLES.
    """

    spec: Spec

    title: ClassVar[str] = "oracle"

    def check(self, spec: Spec) -> None:
        if spec.name not in ORACLES:
            raise ValueError(
                f"nothing reads classes from {spec.name} exactly, as from {', '.join(ORACLES)}; "
                "take features.name=classifier with a run of your own"
            )

    def classes(self, lent: Mapping[str, Any]) -> tuple[str, ...]:
        return (*ORACLES[self.spec.name].classes, NONE)

    def load(self, cache: Path, report: Report) -> tuple[Any, str]:
        return (), ""

    def see(self, params: Any, x: Array, lent: Mapping[str, Any]) -> Seen:
        oracle = ORACLES[self.spec.name]

        def read(values: np.ndarray) -> np.ndarray:
            place = np.asarray(oracle.read(np.asarray(values), self.spec))
            return np.where(place < 0, len(oracle.classes), place).astype(np.int32)

        place = jax.pure_callback(read, jax.ShapeDtypeStruct(x.shape[:1], jnp.int32), x)
        found = jax.nn.one_hot(place, len(oracle.classes) + 1)
        return Seen(found, jax.nn.log_softmax(_SURE * found))
