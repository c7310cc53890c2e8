"""The table of conditions: how raw columns of the data become what a network is told."""

from ddm_jax.models.conditions.base import Condition
from ddm_jax.models.conditions.bpe import BytePairs
from ddm_jax.models.conditions.classes import Classes, Nothing
from ddm_jax.models.conditions.embeddings import Embeddings
from ddm_jax.models.conditions.frozen import Transformer, WordLlama
from ddm_jax.models.conditions.image import Image
from ddm_jax.models.conditions.text import Text

__all__ = ["CONDITIONS", "Condition"]

CONDITIONS = {
    "nothing": Nothing,
    "classes": Classes,
    "text": Text,
    "bpe": BytePairs,
    "wordllama": WordLlama,
    "transformer": Transformer,
    "image": Image,
    "embeddings": Embeddings,
}
