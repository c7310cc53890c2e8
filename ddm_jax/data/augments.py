"""The table of augmentations: what training does to its examples, drawn for each by its number.

Draws are made on the host, with the batch, and acted on by the device.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.data.counter import uniform
from ddm_jax.data.dataset import Spec
from ddm_jax.data.geometry import Geometric

_MIRROR_STREAM = 1


class Augment(Protocol):
    """A row of AUGMENTS; `columns` are the names of what it draws.

    label_size: how many numbers tell the network how an example was changed, 0 for none.
    """

    columns: ClassVar[tuple[str, ...]]
    label_size: ClassVar[int]

    def spoils(self, spec: Spec) -> str | None:
        """Why it makes examples that are none of the data, None where it does not."""
        ...

    def draw(self, seed: int, position: np.ndarray) -> dict[str, np.ndarray]:
        """Columns (B, ...) for the examples at these positions (B,) of the stream of examples.

        A draw is a function of (seed, position) alone.
        """
        ...

    def apply(self, x: Array, drawn: Mapping[str, Any]) -> Array:
        """The examples x (B, ...), changed as was drawn."""
        ...

    def labels(self, drawn: Mapping[str, Any]) -> Array | None:
        """Augment labels (B, label_size), 0 for an example as it is; None where it has none."""
        ...


@dataclass(frozen=True)
class NoAugment:
    """The examples as they are."""

    columns: ClassVar[tuple[str, ...]] = ()
    label_size: ClassVar[int] = 0

    def spoils(self, spec: Spec) -> str | None:
        return None

    def draw(self, seed: int, position: np.ndarray) -> dict[str, np.ndarray]:
        return {}

    def apply(self, x: Array, drawn: Mapping[str, Any]) -> Array:
        return x

    def labels(self, drawn: Mapping[str, Any]) -> Array | None:
        return None


@dataclass(frozen=True)
class Mirror:
    """A share of the examples with left and right exchanged, along the last axis but channels."""

    share: float = 0.5

    columns: ClassVar[tuple[str, ...]] = ("mirrored",)
    label_size: ClassVar[int] = 0

    def __post_init__(self):
        if not 0 < self.share <= 1:
            raise ValueError(f"share={self.share} must lie in (0, 1]")

    def spoils(self, spec: Spec) -> str | None:
        return None if spec.mirrors else f"{spec.name} are no such data when mirrored"

    def draw(self, seed: int, position: np.ndarray) -> dict[str, np.ndarray]:
        return {"mirrored": uniform(seed, _MIRROR_STREAM, position) < self.share}

    def apply(self, x: Array, drawn: Mapping[str, Any]) -> Array:
        mirrored = drawn["mirrored"].reshape(-1, *(1,) * (x.ndim - 1))
        return jnp.where(mirrored, jnp.flip(x, axis=-2), x)

    def labels(self, drawn: Mapping[str, Any]) -> Array | None:
        return None


NO_AUGMENT = NoAugment()
AUGMENTS = {"none": NoAugment, "mirror": Mirror, "geometric": Geometric}
