"""Dropout whose mask is an example's own, drawn from its key, whatever batch it is in."""

from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core.scope import LazyRng, Scope
from jax import Array


def own_masks(keys: Array) -> dict[str, LazyRng]:
    """The `rngs` for `apply` of a network whose example i draws its masks from keys[i]."""
    return {"dropout": LazyRng.create(keys)}


class Dropout(nn.Module):
    """x / (1 - rate), or 0 with probability `rate`, where it trains; else x.

    x (B k, ...) holds k rows of each of the B examples whose keys the network was given by
    `own_masks`. Srivastava et al. 2014, J. Mach. Learn. Res. 15.
    """

    rate: float
    train: bool

    @nn.compact
    def __call__(self, x: Array) -> Array:
        if not self.rate or not self.train:
            return x
        scope = cast(Scope, self.scope)
        given = LazyRng.create(scope.rngs["dropout"])

        def mask(key: Array) -> Array:
            of_layer = LazyRng.create(key, *given.suffix, 1).as_jax_rng()
            return jax.random.bernoulli(
                of_layer, 1 - self.rate, (len(x) // len(given.rng), *x.shape[1:])
            )

        kept = jax.vmap(mask)(given.rng).reshape(x.shape)
        return jnp.where(kept, x / (1 - self.rate), 0)
