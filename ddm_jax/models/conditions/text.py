"""The caption of an example, read by an encoder that is trained with the network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.diffusion.conditions import Raw
from ddm_jax.models.conditions.captions import Captions
from ddm_jax.models.text import TokenEncoder

START, FIRST = 1, 2  # the token before every text, and that of byte 0; 0 is no token


@dataclass(frozen=True)
class Text(Captions):
    """The bytes of a caption as tokens, and one before them.

    Raw: ids (B, length), 0 after the end; the null is the text without bytes.
    """

    unit: ClassVar[str] = "bytes"
    setting: ClassVar[str] = "condition.text.length"

    @property
    def kinds(self) -> int:
        """How many tokens there are, beside the one before a text."""
        return 256

    def read(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The tokens (k,) of each text, from 0 to kinds - 1."""
        return [np.frombuffer(text.encode(), np.uint8) for text in texts]

    @property
    def encoder(self) -> TokenEncoder:
        return TokenEncoder(FIRST + self.kinds, self.channels, self.width, self.depth, self.heads)

    def columns(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"tokens": self.ask(columns["text"])} if "text" in columns else {}

    def raw(self, columns: Mapping[str, Any]) -> Raw:
        return columns["tokens"]

    def ask(self, requests: Sequence[str] | np.ndarray) -> Raw:
        texts = [str(text) for text in requests]
        ids = np.zeros((len(texts), self.length), np.int32)
        ids[:, 0] = START
        for row, text, found in zip(ids, texts, self.read(texts), strict=True):
            if len(found) >= self.length:
                raise ValueError(
                    f"{_short(text)} has {len(found)} {self.unit}, and {self.setting}="
                    f"{self.length} leaves room for {self.length - 1}"
                )
            row[1 : 1 + len(found)] = found.astype(np.int32) + FIRST
        return ids

    def hide(self, raw: Raw, hidden: Array) -> Raw:
        return jnp.where(hidden & (jnp.arange(self.length) > 0), 0, raw)

    def null(self, count: int) -> Raw:
        return jnp.zeros((count, self.length), jnp.int32).at[:, 0].set(START)


def _short(text: str) -> str:
    """The beginning of a text, quoted."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
