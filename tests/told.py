"""A condition for tests of losses: networks are shown the class index itself."""

import jax.numpy as jnp

from ddm_jax.diffusion.conditions import Context

NULL = 7


class Told:
    """The vector of an example is its class index; NULL says nothing."""

    def null(self, count):
        return jnp.full(count, NULL, jnp.int32)

    def embed(self, params, raw):
        return Context(None if raw is None else raw[:, None])
