"""A vector that comes with an example: what a frozen network elsewhere made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.data.dataset import Spec
from ddm_jax.data.vectors import asked_vector, each_vector
from ddm_jax.diffusion.conditions import Context, Raw
from ddm_jax.models.conditions.base import Plain


class Vectors(NamedTuple):
    """values (B, D), as the data have them; there (B,): 1, and 0 where there is none."""

    values: Any
    there: Any


class Projection(nn.Module):
    """W v + b of vectors (B, D), a learned vector in place of those that are not there."""

    width: int
    normalize: bool

    @nn.compact
    def __call__(self, values: Array, there: Array) -> Array:
        null = self.param("null", nn.initializers.normal(1.0), values.shape[-1:])
        if self.normalize:
            square = (values**2).mean(-1, keepdims=True)
            values = values / jnp.sqrt(jnp.where(square > 0, square, 1.0))
        return nn.Dense(self.width)(jnp.where(there[:, None] > 0, values, null))


@dataclass(frozen=True)
class Embeddings(Plain):
    """A frozen vector, projected and added to the embedding of the noise.

    Raw: Vectors, whose null is a learned vector. The vectors are the column "embedding" of the
    data; those that are asked for stand in files, `vectors.npy`, dealt in turn, or a row of one,
    `vectors.npy:3`. normalize: whether each is brought to a mean square of 1, for embeddings whose
    direction alone says something. Ramesh et al. 2022, arXiv:2204.06125, section 2.1.
    """

    width: int
    spec: Spec
    normalize: bool = False

    file: ClassVar[str] = "vectors.npy"
    parts = ("vector",)
    choices = ()

    @property
    def projection(self) -> Projection:
        return Projection(self.width, self.normalize)

    def check(self) -> None:
        if not self.spec.embedding:
            raise ValueError(
                f"{self.spec.name} has no vectors beside its examples; name a file of them with "
                "--config.data.embeddings=vectors.npy, put an embedding into each line of a "
                "folder's metadata.jsonl, or take condition.name=nothing"
            )

    def raw(self, columns: Mapping[str, Any]) -> Raw:
        values = columns["embedding"]
        return Vectors(values, np.ones(len(values), np.float32))

    def each(self, requests: Sequence[str]) -> tuple[str, ...]:
        return tuple(one for name in requests for one in each_vector(name))

    def ask(self, requests: Sequence[str]) -> Raw:
        rows = [asked_vector(name, self.spec.embedding) for name in requests]
        values = np.array(rows, np.float32).reshape(len(rows), self.spec.embedding)
        return Vectors(values, np.ones(len(rows), np.float32))

    def null(self, count: int) -> Raw:
        return Vectors(jnp.zeros((count, self.spec.embedding)), jnp.zeros(count))

    def names(self, columns: Mapping[str, np.ndarray]) -> list[str] | None:
        return None

    def init(self, key: Array) -> Any:
        return self.projection.init(key, *self.null(1))["params"]

    def embed(self, params: Any, raw: Raw) -> Context:
        vectors = map(jnp.asarray, raw)
        projected: Any = self.projection.apply({"params": params}, *vectors)
        return Context(projected)
