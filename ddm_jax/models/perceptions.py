"""By what else reconstructions are near to examples: the table of perceptions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jax.numpy as jnp
from jax import Array

from ddm_jax.data.dataset import Report, Spec
from ddm_jax.models.features.networks import EfficientNetLite0


class Perception(Protocol):
    """A row of PERCEPTIONS: a frozen dataclass, whose methods are pure functions of arrays."""

    def check(self, spec: Spec) -> None:
        """Raises ValueError where such data cannot be seen."""
        ...

    def load(self, spec: Spec, cache: Path, report: Report) -> Any:
        """The weights that it sees with, which are not trained; () for none."""
        ...

    def apart(self, spec: Spec, params: Any, x: Array, back: Array) -> Array | None:
        """What the loss gains (B,) for examples x and reconstructions (B, ...), both in [-1, 1].

        None where nothing is perceived.
        """
        ...


@dataclass(frozen=True)
class NoPerception:
    """None: elements are compared one by one."""

    def check(self, spec: Spec) -> None:
        pass

    def load(self, spec: Spec, cache: Path, report: Report) -> Any:
        return ()

    def apart(self, spec: Spec, params: Any, x: Array, back: Array) -> Array | None:
        return None


@dataclass(frozen=True)
class Lite0:
    """weight times the mean square between what EfficientNet-Lite0 sees in x and in back.

    At the end of each of its seven stages channels are divided by their norm at each position, and
    squares of differences are summed over channels and averaged over positions and stages: Zhang et
    al. 2018, arXiv:1801.03924, without their learned weights of channels. Pictures are resized to
    size x size, a multiple of 32. Needs the extra `features`.
    """

    weight: float = 0.1
    size: int = 64

    def __post_init__(self):
        if self.weight <= 0:
            raise ValueError("needs weight > 0; perception.name=none is without")

    def check(self, spec: Spec) -> None:
        EfficientNetLite0(spec, self.size).check(spec)

    def load(self, spec: Spec, cache: Path, report: Report) -> Any:
        return EfficientNetLite0(spec, self.size).load(cache, report)[0]

    def apart(self, spec: Spec, params: Any, x: Array, back: Array) -> Array | None:
        row = EfficientNetLite0(spec, self.size)

        def directions(x: Array) -> list[Array]:
            low, high = spec.low, spec.high
            maps = row.maps(params, low + (high - low) * (x + 1) / 2)
            return [m / (jnp.sqrt((m**2).sum(-1, keepdims=True) + 1e-10)) for m in maps]

        pairs = zip(directions(x), directions(back), strict=True)
        stages = [((a - b) ** 2).sum(-1).mean((1, 2)) for a, b in pairs]
        return self.weight * jnp.stack(stages).mean(0)


PERCEPTIONS = {"none": NoPerception, "lite0": Lite0}
