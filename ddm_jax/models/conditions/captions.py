"""What the conditions share that read the caption of an example."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.data.dataset import Spec
from ddm_jax.diffusion.conditions import Context, Raw
from ddm_jax.models.conditions.base import Plain


@dataclass(frozen=True)
class Captions(Plain, ABC):
    """Captions of at most `length` tokens, read by an encoder that is trained with the network.

    Its output is attended to, and its first vector is added to the embedding of the noise;
    channels, depth and heads are its own. A row of its kind adds the raw condition and the encoder,
    whose arguments are the arrays of one. Nichol et al. 2021, arXiv:2112.10741, section 4.1.

    token_dropout: the share of tokens that training hides from the network, each drawn on its own,
    so that it learns what every word says without the others. Word dropout of Iyyer et al. 2015,
    "Deep unordered composition rivals syntactic methods", section 3.2.
    """

    width: int
    spec: Spec
    length: int = 80
    channels: int = 128
    depth: int = 2
    heads: int = 4
    token_dropout: float = 0.0

    parts = ("vector", "sequence", "mask")
    choices = ()

    def __post_init__(self):
        if min(self.length - 1, self.channels, self.depth + 1, self.heads) < 1:
            raise ValueError("length must be at least 2, channels and heads 1, and depth 0")
        if self.channels % self.heads:
            raise ValueError(f"heads={self.heads} does not divide channels={self.channels}")
        if not 0 <= self.token_dropout < 1:
            raise ValueError(
                f"token_dropout={self.token_dropout} is the share of tokens that training hides; "
                "it lies in [0, 1)"
            )

    @property
    @abstractmethod
    def encoder(self) -> nn.Module:
        """From the arrays of a raw condition to a Context."""

    @abstractmethod
    def hide(self, raw: Raw, hidden: Array) -> Raw:
        """The raw condition without the tokens where hidden (B, length) is True."""

    @abstractmethod
    def ask(self, requests: Sequence[str] | np.ndarray) -> Raw:
        """The raw condition (n, ...) of texts; ValueError for one that is too long."""

    @abstractmethod
    def null(self, count: int) -> Raw:
        """That of empty texts."""

    def check(self) -> None:
        if not self.spec.captioned:
            raise ValueError(
                f"text needs data with captions, which {self.spec.name} has not; take "
                "condition.name=nothing, or a folder of images with captions in a metadata.jsonl"
            )

    def noised(self, raw: Raw, keys: Array, training: bool) -> Raw:
        if not (training and self.token_dropout):
            return raw
        draw = jax.vmap(lambda key: jax.random.uniform(key, (self.length,)))
        return self.hide(raw, draw(keys) < self.token_dropout)

    def names(self, columns: Mapping[str, np.ndarray]) -> list[str] | None:
        return [str(text) for text in columns["text"]]

    def init(self, key: Array) -> Any:
        return jax.jit(self.encoder.init)(key, *jax.tree.leaves(self.null(1)))["params"]

    def embed(self, params: Any, raw: Raw) -> Context:
        arrays = map(jnp.asarray, jax.tree.leaves(raw))
        told: Any = self.encoder.apply({"params": params}, *arrays)
        return told
