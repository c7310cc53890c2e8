"""Per-example values and draws: shapes, precision and keys."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Key

# Shapes, which tests check at run time: b counts examples, d stands for the axes of one.
Number = Array | np.ndarray | np.floating | float
Times = Float[Number, "*t"]  # what functions of time take, jax's own or not
OfTimes = Float[Array, "*t"]  # what they give, one for each
X = Float[Array, "b *d"]  # examples
PerExample = Float[Array, "b"]
Mask = Bool[Array | np.ndarray, "..."]  # broadcastable to examples
Keys = Key[Array, ""] | Key[Array, "b"]
Grid = Float[Number, "n"] | Float[Number, "n b"]  # n times of a walk, or those of each example
if TYPE_CHECKING:
    T = Array  # one time for all, or one for each example
else:  # a notebook may give a number
    T = Float[Number, ""] | Float[Number, "b"]


def real(a: ArrayLike) -> Array:
    """`a` as a floating-point array: float32, or float64 where jax is told to compute in it."""
    return jnp.asarray(a, jnp.result_type(float))


def expand(a: ArrayLike, x: Array | np.ndarray) -> Array:
    """A per-example value a, () or (B,), shaped to multiply x (B, ...)."""
    a = jnp.asarray(a)
    return a if a.ndim == 0 else a.reshape(a.shape + (1,) * (x.ndim - 1))


def length(x: X) -> PerExample:
    """|x| over all elements of an example, (B, ...) -> (B,)."""
    return jnp.sqrt((x**2).sum(tuple(range(1, x.ndim))))


def normal_like(key: Array, x: Array) -> Array:
    """Standard normal noise of x's shape, float32.

    `key` is one key, or one key an example (B,): then example i depends on key i alone, whatever
    the batch around it.
    """
    if key.ndim == 0:
        return jax.random.normal(key, x.shape, jnp.float32)
    return jax.vmap(lambda k: jax.random.normal(k, x.shape[1:], jnp.float32))(key)


def fold_in(key: Array, data: ArrayLike) -> Array:
    """`jax.random.fold_in` for one key or for keys (B,) with data () or (B,)."""
    if key.ndim == 0 and jnp.ndim(data) == 0:
        return jax.random.fold_in(key, data)
    size = key.shape[0] if key.ndim else jnp.shape(data)[0]
    keys = key if key.ndim else jnp.broadcast_to(key, (size,))
    return jax.vmap(jax.random.fold_in)(keys, jnp.broadcast_to(jnp.asarray(data), (size,)))
