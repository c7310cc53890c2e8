"""The norm of the U-Nets against Flax's, another way to the same numbers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.models.layers import GroupNorm

pytestmark = pytest.mark.usefixtures("quick_compilation")

RNG = np.random.default_rng(0)


def weights(channels):
    values = RNG.normal(size=(2, channels))
    return {"params": dict(zip(("scale", "bias"), values.astype(np.float32), strict=True))}


@pytest.mark.parametrize(
    ("space", "groups"), [((), 4), ((6,), 1), ((3, 5), 3), ((3, 5), 12), ((2, 3, 4), 6)], ids=repr
)
def test_it_is_that_of_flax_with_its_gradient(space, groups):
    x = jnp.float32(3 + 2 * RNG.normal(size=(2, *space, 12)))
    params, weight = weights(12), jnp.float32(RNG.normal(size=x.shape))

    def of(norm):
        return jax.jit(jax.value_and_grad(lambda p, x: (weight * norm.apply(p, x)).sum(), (0, 1)))

    ours, theirs = (
        of(norm)(params, x) for norm in (GroupNorm(groups), nn.GroupNorm(groups, epsilon=1e-6))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), ours, theirs)


def test_its_weights_are_named_as_those_of_flax():
    x = jnp.zeros((1, 4, 12))
    trees = [
        jax.eval_shape(norm.init, jax.random.key(0), x)
        for norm in (GroupNorm(3), nn.GroupNorm(3, epsilon=1e-6))
    ]
    assert trees[0] == trees[1]


def test_moments_are_float32_whatever_comes_and_goes():
    """Near 100, numbers of bfloat16 are 0.5 apart: their own moments would be far off."""
    x = jnp.asarray(100 + RNG.normal(size=(2, 64, 8)), jnp.bfloat16)
    params = weights(8)
    out = jax.jit(GroupNorm(2, jnp.bfloat16).apply)(params, x)
    assert out.dtype == jnp.bfloat16
    exact = jax.jit(GroupNorm(2).apply)(params, x.astype(jnp.float32))
    np.testing.assert_allclose(np.float32(out), exact, atol=0.02, rtol=0.01)


def test_an_example_is_normed_alone_and_a_constant_one_is_its_bias():
    params, x = weights(8), jnp.float32(RNG.normal(size=(3, 5, 8)))
    norm = jax.jit(GroupNorm(4).apply)
    np.testing.assert_allclose(norm(params, x)[1:2], norm(params, x[1:2]), rtol=1e-5, atol=1e-6)
    flat = norm(params, jnp.full((1, 5, 8), 0.5))
    np.testing.assert_allclose(flat[0], np.tile(params["params"]["bias"], (5, 1)), atol=1e-5)
