"""The caption of an example, read by an encoder that is trained with the network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.data.dataset import Spec
from ddm_jax.diffusion.conditions import Context, Raw
from ddm_jax.models.text import TokenEncoder

START, FIRST = 1, 2  # the token before every text, and that of byte 0; 0 is no token


@dataclass(frozen=True)
class Text:
    """Bytes of a caption as tokens, at most `length` with the one before them, encoded.

    Raw: ids (B, length), 0 after the end; the null is the text without bytes. channels, depth and
    heads are those of the encoder, which is trained with the network: its output is attended to,
    and its first vector is added to the embedding of the noise. Nichol et al. 2021,
    arXiv:2112.10741.
    """

    width: int
    spec: Spec
    length: int = 80
    channels: int = 128
    depth: int = 2
    heads: int = 4

    parts = ("vector", "sequence", "mask")
    choices = ()

    def __post_init__(self):
        if min(self.length - 1, self.channels, self.depth + 1, self.heads) < 1:
            raise ValueError("length must be at least 2, channels and heads 1, and depth 0")
        if self.channels % self.heads:
            raise ValueError(f"heads={self.heads} does not divide channels={self.channels}")

    @property
    def encoder(self) -> TokenEncoder:
        return TokenEncoder(FIRST + 256, self.channels, self.width, self.depth, self.heads)

    def check(self) -> None:
        if not self.spec.captioned:
            raise ValueError(
                f"text needs data with captions, which {self.spec.name} has not; take "
                "condition.name=nothing, or put a metadata.jsonl into the folder"
            )

    def learn(self, columns: Mapping[str, np.ndarray]) -> str:
        return ""

    def columns(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"tokens": self.ask(columns["text"])} if "text" in columns else {}

    def raw(self, columns: Mapping[str, Any]) -> Raw:
        return columns["tokens"]

    def ask(self, requests: Sequence[str] | np.ndarray) -> Raw:
        ids = np.zeros((len(requests), self.length), np.int32)
        ids[:, 0] = START
        for row, text in zip(ids, requests, strict=True):
            found = np.frombuffer(str(text).encode(), np.uint8)
            if len(found) >= self.length:
                raise ValueError(
                    f"{_short(text)} has {len(found)} bytes, and condition.text.length="
                    f"{self.length} leaves room for {self.length - 1}"
                )
            row[1 : 1 + len(found)] = found.astype(np.int32) + FIRST
        return ids

    def null(self, count: int) -> Raw:
        return jnp.zeros((count, self.length), jnp.int32).at[:, 0].set(START)

    def names(self, columns: Mapping[str, np.ndarray]) -> list[str] | None:
        return [str(text) for text in columns["text"]]

    def init(self, key: Array) -> Any:
        return jax.jit(self.encoder.init)(key, self.null(1))["params"]

    def embed(self, params: Any, raw: Raw) -> Context:
        told: Any = self.encoder.apply({"params": params}, jnp.asarray(raw))
        return told


def _short(text: str) -> str:
    """The beginning of a text, quoted."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
