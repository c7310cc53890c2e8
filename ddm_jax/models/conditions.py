"""The table of conditions: how raw columns of the data become what a network is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.data.dataset import Spec
from ddm_jax.diffusion.conditions import Context, Raw


class Condition(Protocol):
    """A kind of condition. `width` is the length of the vectors that the network adds."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The fields of Context that it fills, which a network must read."""
        ...

    def check(self, spec: Spec) -> None:
        """Raises ValueError where data of `spec` cannot give it."""
        ...

    def raw(self, columns: Mapping[str, Any]) -> Raw:
        """The raw condition of examples, from their columns."""
        ...

    def null(self, raw: Raw) -> Raw:
        """The condition that says nothing, of the structure and shapes of `raw`."""
        ...

    def names(self, spec: Spec, raw: Raw) -> list[str] | None:
        """What to write above the pictures, None for nothing."""
        ...

    def init(self, key: Array) -> Any:
        """Fresh parameters, () for none."""
        ...

    def embed(self, params: Any, raw: Raw) -> Context:
        """Raw arrays as a network reads them."""
        ...


@dataclass(frozen=True)
class Nothing:
    """No condition: the network is told of the noise alone."""

    width: int
    classes: int

    parts = ()

    def check(self, spec: Spec) -> None:
        pass

    def raw(self, columns: Mapping[str, Any]) -> Raw:
        return None

    def null(self, raw: Raw) -> Raw:
        return None

    def names(self, spec: Spec, raw: Raw) -> list[str] | None:
        return None

    def init(self, key: Array) -> Any:
        return ()

    def embed(self, params: Any, raw: Raw) -> Context:
        return Context()


@dataclass(frozen=True)
class Classes:
    """The class of an example, by a table with a row for each class and a last one for none.

    Raw: class indices (B,); the null is the number of classes. Ho & Salimans 2022,
    arXiv:2207.12598.
    """

    width: int
    classes: int

    parts = ("vector",)

    @property
    def table(self) -> nn.Embed:
        return nn.Embed(self.classes + 1, self.width)

    def check(self, spec: Spec) -> None:
        if not spec.classes:
            raise ValueError(
                f"classes need data with classes, which {spec.name} has not; take "
                "condition.name=nothing"
            )

    def raw(self, columns: Mapping[str, Any]) -> Raw:
        return columns["label"]

    def null(self, raw: Raw) -> Raw:
        return jnp.full_like(raw, self.classes)

    def names(self, spec: Spec, raw: Raw) -> list[str] | None:
        return [spec.classes[k] for k in np.asarray(raw)]

    def init(self, key: Array) -> Any:
        return self.table.init(key, jnp.zeros(1, jnp.int32))["params"]

    def embed(self, params: Any, raw: Raw) -> Context:
        rows: Any = self.table.apply({"params": params}, jnp.asarray(raw))
        return Context(rows)


CONDITIONS = {"nothing": Nothing, "classes": Classes}
