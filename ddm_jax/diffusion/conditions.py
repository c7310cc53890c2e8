"""What a network is told beside the noise: raw arrays of each example, embedded into a Context."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import expand

Raw = Any  # a pytree of arrays (B, ...) as the data have them: class indices, tokens, pictures


class Context(NamedTuple):
    """A condition as networks read it; None for what it does not have.

    vector: (B, W), added to the embedding of the noise. sequence: (B, L, D), attended to, where
    mask, (B, L) bool, is True. maps: (B, *space, C), concatenated to the channels of x. gap: (B,),
    the noise_cond of t less that of the second time s, of networks that are told of two times.
    """

    vector: Array | None = None
    sequence: Array | None = None
    mask: Array | None = None
    maps: Array | None = None
    gap: Array | None = None


NO_CONTEXT = Context()


@runtime_checkable
class Embedding(Protocol):
    """What losses and denoisers ask of a condition."""

    def null(self, count: int) -> Raw:
        """The condition that says nothing, for so many examples."""
        ...

    def embed(self, params: Any, raw: Raw) -> Context:
        """Raw arrays as a network reads them."""
        ...


def drop(embedding: Embedding, raw: Raw, keys: Array, rate: float) -> Raw:
    """`raw` with the null in place of a share `rate` of the examples.

    One draw an example, from its key (B,), decides for all its arrays, so that an array whose first
    axis happens to be as long as another one's second is dropped by examples all the same. Ho &
    Salimans 2022, arXiv:2207.12598, algorithm 1.
    """
    away = dropped(keys, rate)
    return jax.tree.map(
        lambda none, one: jnp.where(expand(away, one), none, one), embedding.null(len(keys)), raw
    )


def dropped(keys: Array, rate: float) -> Array:
    """Which examples `drop` takes the condition from, (B,) bool."""
    return jax.vmap(jax.random.bernoulli, (0, None))(keys, rate)


def with_labels(context: Context, matrix: Array, labels: Array) -> Context:
    """The context with augment labels (B, L) @ matrix (L, W) added to its vector.

    Labels of 0 change nothing, so that sampling leaves them away. Karras et al. 2022,
    arXiv:2206.00364, appendix F.2.
    """
    vector = labels @ matrix
    return context._replace(vector=vector if context.vector is None else context.vector + vector)
