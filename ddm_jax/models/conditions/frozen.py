"""The caption of an example, read by vectors of words that were trained elsewhere and stay so."""

import functools
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.diffusion.conditions import Raw
from ddm_jax.errors import UserError
from ddm_jax.models.conditions.captions import Captions
from ddm_jax.models.text import VectorEncoder


class Words(NamedTuple):
    """Vectors (B, L, D) of the words of texts, and which of them are there, (B, L) bool."""

    vectors: Any
    there: Any


@dataclass(frozen=True)
class FrozenText(Captions):
    """Captions as vectors of words, which the encoder is trained to read.

    Raw: Words; the null is the text without words.
    """

    length: int = 32

    @property
    @abstractmethod
    def size(self) -> int:
        """Elements of a vector."""

    @abstractmethod
    def read(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The vectors (k, size) of the k words of each text."""

    @property
    def encoder(self) -> VectorEncoder:
        return VectorEncoder(self.channels, self.width, self.depth, self.heads)

    def columns(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self.ask(columns["text"])._asdict() if "text" in columns else {}

    def raw(self, columns: Mapping[str, Any]) -> Raw:
        return Words(columns["vectors"], columns["there"])

    def ask(self, requests: Sequence[str] | np.ndarray) -> Words:
        texts = [str(text) for text in requests]
        vectors = np.zeros((len(texts), self.length, self.size), np.float16)
        there = np.zeros((len(texts), self.length), bool)
        for i, found in enumerate(self.read(texts)):
            if len(found) > self.length:
                raise ValueError(
                    f"{texts[i][:40]!r} has {len(found)} words or parts of words, and the "
                    f"condition's length={self.length} has room for no more"
                )
            if not np.abs(found).max(initial=0) <= np.finfo(np.float16).max:
                raise ValueError(
                    f"{texts[i][:40]!r} has vectors beyond the range of float16; take another "
                    "encoder"
                )
            vectors[i, : len(found)], there[i, : len(found)] = found, True
        return Words(vectors, there)

    def hide(self, raw: Words, hidden: Array) -> Words:
        return raw._replace(there=raw.there & ~hidden)

    def null(self, count: int) -> Words:
        vectors = jnp.zeros((count, self.length, self.size), jnp.float16)
        return Words(vectors, jnp.zeros((count, self.length), bool))


@dataclass(frozen=True)
class WordLlama(FrozenText):
    """Vectors of 256 elements for 32,000 parts of words, as the package `wordllama` ships them.

    They are the embeddings of a large language model, trained on to tell sentences apart: Miller
    2024, github.com/dleemiller/WordLlama. No network is needed.
    """

    @property
    def size(self) -> int:
        return 256

    def read(self, texts: Sequence[str]) -> list[np.ndarray]:
        tokenizer, table = _wordllama()
        return [table[e.ids] for e in tokenizer.encode_batch(list(texts), add_special_tokens=False)]


@functools.cache
def _wordllama() -> tuple[Any, np.ndarray]:
    """(tokenizer, vectors (32000, 256)), from the files of the package, whose code is not run."""
    found = find_spec("wordllama")
    if found is None or not found.submodule_search_locations:
        raise UserError('condition.name=wordllama needs: pip install -e ".[text]"')
    load_file = import_module("safetensors.numpy").load_file
    from tokenizers import Tokenizer

    root = Path(found.submodule_search_locations[0])
    tokenizer = Tokenizer.from_file(str(root / "tokenizers/l2_supercat_tokenizer_config.json"))
    return tokenizer, load_file(root / "weights/l2_supercat_256.safetensors")["embedding.weight"]


@dataclass(frozen=True)
class Transformer(FrozenText):
    """The last hidden states of a pretrained text encoder, from the local folder `path`.

    A folder as `transformers` or `sentence-transformers` save a model, with its tokenizer; nothing
    is downloaded, and no code of the folder is run.
    """

    path: str = ""

    @property
    def size(self) -> int:
        try:
            return int(json.loads((Path(self.path) / "config.json").read_text())["hidden_size"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"condition.transformer.path={self.path!r} is no folder of a pretrained text "
                "encoder: no config.json with a hidden_size; give one that transformers has saved"
            ) from error

    def read(self, texts: Sequence[str]) -> list[np.ndarray]:
        tokenizer, model, torch = _transformer(self.path)
        found = []
        for start in range(0, len(texts), 256):
            batch = tokenizer(list(texts[start : start + 256]), padding=True, return_tensors="pt")
            with torch.inference_mode():
                states = model(**batch).last_hidden_state.float().numpy()
            masks = batch["attention_mask"].numpy().astype(bool)
            found += [state[mask] for state, mask in zip(states, masks, strict=True)]
        return found


@functools.lru_cache(maxsize=1)
def _transformer(path: str) -> tuple[Any, Any, Any]:
    """(tokenizer, model, torch) of a folder."""
    if not (find_spec("transformers") and find_spec("torch")):
        raise UserError('condition.name=transformer needs: pip install -e ".[transformer]"')
    torch, hub = import_module("torch"), import_module("transformers")
    offline = {"local_files_only": True, "trust_remote_code": False}
    try:
        model = hub.AutoModel.from_pretrained(path, use_safetensors=True, **offline)
        return hub.AutoTokenizer.from_pretrained(path, **offline), model.eval(), torch
    except Exception as error:  # transformers raises whatever its files lead to
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"condition.transformer.path={path!r} cannot be read: {line}") from error
