"""The caption of an example, in parts of words that are learnt from the captions."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from ddm_jax.diffusion.conditions import Raw
from ddm_jax.errors import UserError
from ddm_jax.models.conditions.text import FIRST, START, Text
from ddm_jax.models.text import TokenEncoder


@dataclass(frozen=True)
class BytePairs(Text):
    """As `Text`, with at most `vocabulary` parts of words as tokens, so fewer of them.

    Bytes are joined, the commonest pair first, until there are that many parts; the run keeps them
    in its data.json. Every text can be said in them. Sennrich et al. 2016, arXiv:1508.07909.
    """

    length: int = 32
    vocabulary: int = 512

    def __post_init__(self):
        super().__post_init__()
        if self.vocabulary < 256:
            raise ValueError(
                f"vocabulary={self.vocabulary} must be at least 256, one for each byte"
            )

    @property
    def encoder(self) -> TokenEncoder:
        tokens = FIRST + self.vocabulary
        return TokenEncoder(tokens, self.channels, self.width, self.depth, self.heads)

    def learn(self, columns: Mapping[str, np.ndarray]) -> str:
        return learnt(columns["text"], self.vocabulary) if "text" in columns else ""

    def ask(self, requests: Sequence[str] | np.ndarray) -> Raw:
        texts = [str(text) for text in requests]
        ids = np.zeros((len(texts), self.length), np.int32)
        ids[:, 0] = START
        tokenizer = reader(self.spec.learnt)
        for row, text, found in zip(ids, texts, tokenizer.encode_batch(texts), strict=True):
            if len(found.ids) >= self.length:
                raise ValueError(
                    f"{text[:40]!r} has {len(found.ids)} parts of words, and condition.bpe.length="
                    f"{self.length} leaves room for {self.length - 1}"
                )
            row[1 : 1 + len(found.ids)] = np.array(found.ids, np.int32) + FIRST
        return ids


def learnt(texts: Sequence[str] | np.ndarray, vocabulary: int) -> str:
    """A tokenizer of byte pairs for `texts`, as JSON; the same for the same texts in any order."""
    if not find_spec("tokenizers"):
        raise UserError('condition.name=bpe needs: pip install -e ".[text]"')
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer, tokenizer.decoder = bytes_, decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(sorted(map(str, texts)), trainer)
    return tokenizer.to_str()


@functools.lru_cache(maxsize=4)
def reader(text: str) -> Any:
    """The tokenizer that `learnt` wrote."""
    if not find_spec("tokenizers"):
        raise UserError('condition.name=bpe needs: pip install -e ".[text]"')
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # as tokenizers raises it
        raise UserError(
            "the parts of words that the captions are read by are missing or broken: see learnt in "
            "data.json; put a good copy back"
        ) from error
