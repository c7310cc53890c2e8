"""The caption of an example, in parts of words that are learnt from the captions."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np

from ddm_jax.errors import UserError
from ddm_jax.models.conditions.text import Text


@dataclass(frozen=True)
class BytePairs(Text):
    """As `Text`, with at most `vocabulary` parts of words as tokens, so fewer of them.

    Bytes are joined, the commonest pair first, until there are that many parts; the run keeps them
    in its data.json. Every text can be said in them. Sennrich et al. 2016, arXiv:1508.07909.
    """

    unit: ClassVar[str] = "parts of words"
    setting: ClassVar[str] = "condition.bpe.length"

    length: int = 32
    vocabulary: int = 512

    def __post_init__(self):
        super().__post_init__()
        if self.vocabulary < 256:
            raise ValueError(
                f"vocabulary={self.vocabulary} must be at least 256, one for each byte"
            )

    @property
    def kinds(self) -> int:
        return self.vocabulary

    def read(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.array(e.ids, np.int32) for e in reader(self.spec.learnt).encode_batch(texts)]

    def learn(self, columns: Mapping[str, np.ndarray]) -> str:
        return learnt(columns["text"], self.vocabulary) if "text" in columns else ""


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
