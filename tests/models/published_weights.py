"""Random weights of networks whose parameters are named as PyTorch names them."""

import jax
import jax.numpy as jnp
import numpy as np


def shapes_of(module, *size):
    """The parameters of a module for x (1, *size), as shapes."""
    x = jax.ShapeDtypeStruct((1, *size), jnp.float32)
    return jax.eval_shape(module.init, jax.random.key(0), x)["params"]


def drawn(like, seed=0):
    """Random leaves for a tree of shapes, which keep the size of what passes through.

    Kernels have a mean of 0, since what all positions share would soon outweigh the picture.

    Variances are between 0.001 and 0.005 where the means and kernels are small, so that the epsilon
    of norms shows.
    """
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name, normal = path[-1].key, rng.normal(size=leaf.shape)
        if name == "running_var":
            values = 0.001 + 0.004 * rng.random(leaf.shape)
        elif leaf.ndim == 1:
            values = {"weight": 1 + 0.2 * normal, "bias": 0.1 * normal}.get(name, 0.02 * normal)
        else:
            fan = tuple(range(1, leaf.ndim))
            gain = 1.0 if leaf.ndim == 2 else 0.09
            values = gain * normal / np.sqrt(np.prod(leaf.shape[1:]))
            values = values - values.mean(fan, keepdims=True)
        return jnp.asarray(values, jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, like)
