"""No condition, and the class of an example."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.data.dataset import Spec
from ddm_jax.diffusion.conditions import Context, Raw
from ddm_jax.errors import unknown
from ddm_jax.models.conditions.base import Plain


@dataclass(frozen=True)
class Nothing(Plain):
    """No condition: the network is told of the noise alone."""

    width: int
    spec: Spec

    parts = ()
    choices = ()

    def check(self) -> None:
        pass

    def raw(self, columns: Mapping[str, Any]) -> Raw:
        return None

    def ask(self, requests: Sequence[str]) -> Raw:
        return None

    def null(self, count: int) -> Raw:
        return None

    def names(self, columns: Mapping[str, np.ndarray]) -> list[str] | None:
        return None

    def init(self, key: Array) -> Any:
        return ()

    def embed(self, params: Any, raw: Raw) -> Context:
        return Context()


@dataclass(frozen=True)
class Classes(Plain):
    """The class of an example, by a table with a row for each class and a last one for none.

    Raw: class indices (B,); the null is the number of classes. Ho & Salimans 2022,
    arXiv:2207.12598.
    """

    width: int
    spec: Spec

    parts = ("vector",)

    @property
    def table(self) -> nn.Embed:
        return nn.Embed(len(self.choices) + 1, self.width)

    @property
    def choices(self) -> tuple[str, ...]:
        return self.spec.classes

    def check(self) -> None:
        if not self.choices:
            raise ValueError(
                f"classes need data with classes, which {self.spec.name} has not; take "
                "condition.name=nothing"
            )

    def raw(self, columns: Mapping[str, Any]) -> Raw:
        return columns["label"]

    def ask(self, requests: Sequence[str]) -> Raw:
        unheard = [name for name in requests if name not in self.choices]
        if unheard:
            raise unknown("class", unheard[0], self.choices)
        return np.array([self.choices.index(name) for name in requests], np.int32)

    def null(self, count: int) -> Raw:
        return jnp.full(count, len(self.choices), jnp.int32)

    def names(self, columns: Mapping[str, np.ndarray]) -> list[str] | None:
        return [self.choices[k] for k in columns["label"]]

    def init(self, key: Array) -> Any:
        return self.table.init(key, jnp.zeros(1, jnp.int32))["params"]

    def embed(self, params: Any, raw: Raw) -> Context:
        rows: Any = self.table.apply({"params": params}, jnp.asarray(raw))
        return Context(rows)
