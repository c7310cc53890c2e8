"""The text encoder: a transformer from embedded tokens to what a network is told."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.conditions import Context
from ddm_jax.models.layers import kernel_init


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)), every token attending to those of the mask."""

    heads: int

    @nn.compact
    def __call__(self, h: Array, mask: Array) -> Array:
        channels = h.shape[-1]
        normed = nn.LayerNorm(name="norm1")(h)
        attend = nn.MultiHeadDotProductAttention(
            self.heads, kernel_init=kernel_init, name="attention"
        )
        h = h + attend(normed, mask=mask[:, None, None])
        wide = nn.Dense(4 * channels, kernel_init=kernel_init, name="wide")
        narrow = nn.Dense(channels, kernel_init=kernel_init, name="narrow")
        return h + narrow(nn.gelu(wide(nn.LayerNorm(name="norm2")(h))))


class TextEncoder(nn.Module):
    """Tokens (B, L, D), where mask (B, L) is True -> Context(vector (B, width), sequence, mask).

    `depth` blocks of a transformer on tokens and their learned places; the sequence, (B, L, D), is
    its output, and the vector an affine map of the output of the first token, which is always
    there. All float32. Embeddings of places have unit variance at first, about that of the tokens:
    so it is soon learnt which of two colours stands before which noun. Nichol et al. 2021,
    arXiv:2112.10741, section 4.1; there the vector is that of the last token.
    """

    width: int
    depth: int
    heads: int

    @nn.compact
    def __call__(self, tokens: Array, mask: Array) -> Context:
        normal = nn.initializers.normal(1.0)
        h = tokens + self.param("place", normal, tokens.shape[1:])
        for i in range(self.depth):
            h = Block(self.heads, name=f"block{i}")(h, mask)
        h = nn.LayerNorm(name="norm")(h)
        vector = nn.Dense(self.width, kernel_init=kernel_init, name="vector")(h[:, 0])
        return Context(vector, h, mask)


class TokenEncoder(nn.Module):
    """Token ids (B, L) -> Context, by a table of `tokens` embeddings and a TextEncoder.

    Id 0 is no token.
    """

    tokens: int
    channels: int
    width: int
    depth: int
    heads: int

    @nn.compact
    def __call__(self, ids: Array) -> Context:
        table = nn.Embed(
            self.tokens, self.channels, embedding_init=nn.initializers.normal(1.0), name="table"
        )
        encoder = TextEncoder(self.width, self.depth, self.heads, name="encoder")
        return encoder(table(ids), jnp.asarray(ids > 0))


class VectorEncoder(nn.Module):
    """Vectors (B, L, D) of words, where `there` (B, L) is True -> Context, by a TextEncoder.

    An affine map takes the vectors to `channels`, and a learned first token stands before them.
    """

    channels: int
    width: int
    depth: int
    heads: int

    @nn.compact
    def __call__(self, vectors: Array, there: Array) -> Context:
        count = len(vectors)
        words = nn.Dense(self.channels, kernel_init=kernel_init, name="words")(
            vectors.astype(jnp.float32)
        )
        start = self.param("start", nn.initializers.normal(1.0), (1, 1, self.channels))
        tokens = jnp.concatenate([jnp.repeat(start, count, 0), words], 1)
        mask = jnp.concatenate([jnp.ones((count, 1), bool), there], 1)
        return TextEncoder(self.width, self.depth, self.heads, name="encoder")(tokens, mask)
