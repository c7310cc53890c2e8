"""What features are: what samples and data are compared by."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from jax import Array

from ddm_jax.data.dataset import Report, Spec


class Seen(NamedTuple):
    """What is seen of examples: features (B, d), and log p(class | example) (B, classes) where the
    features tell classes; float32."""

    features: Array
    log_probs: Array | None = None


class Features(Protocol):
    """A row of FEATURES."""

    title: ClassVar[str]  # what a distance between them is named after
    asks: ClassVar[str]  # the role of the run whose weights are its parameters, "" for its own

    def check(self, spec: Spec) -> None:
        """Raises ValueError where such data cannot be seen."""
        ...

    def classes(self, lent: Mapping[str, Any]) -> tuple[str, ...]:
        """The names of the classes that log_probs tell, () for none."""
        ...

    def load(self, cache: Path, report: Report) -> tuple[Any, str]:
        """(parameters, the sha256 of them), ((), "") for a row that has none of its own.

        cache: the folder that converted weights are kept in; report is told when some are.
        UserError where weights or packages are missing or broken.
        """
        ...

    def see(self, params: Any, x: Array, lent: Mapping[str, Any]) -> Seen:
        """What is seen of x (B, ...), values as the data store them.

        params: those of `load`, or of the borrowed run that the row asks for. lent: the tasks of
        borrowed runs, by role.
        """
        ...


class OwnFeatures:
    """A row that borrows no run and tells no classes."""

    asks: ClassVar[str] = ""

    def classes(self, lent: Mapping[str, Any]) -> tuple[str, ...]:
        return ()


def pictures(spec: Spec) -> None:
    """Raises ValueError where data are no pictures in grey or in colours."""
    if spec.kind != "image" or len(spec.shape) != 3 or spec.shape[-1] not in (1, 3):
        raise ValueError(
            f"{spec.name} are no pictures in grey or in colours, which this network was trained "
            "on; take features.name=pixels, or a classifier of your own"
        )


def unit(spec: Spec, x: Array) -> Array:
    """Values as the data store them, in [0, 1]."""
    return (x.astype("float32") - spec.low) / (spec.high - spec.low)
