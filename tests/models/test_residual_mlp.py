"""The MLP of residual blocks against its formula, written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_dit import awake

from ddm_jax.diffusion.conditions import Context
from ddm_jax.models.layers import sinusoidal_embedding
from ddm_jax.models.residual_mlp import ResidualMLP

pytestmark = pytest.mark.usefixtures("quick_compilation")


def swish(a):
    return a / (1 + np.exp(-a))


def test_it_is_its_formula():
    net, rng = ResidualMLP(3, channels=8, depth=2), np.random.default_rng(1)
    x, vector = rng.normal(size=(2, 4, 2)), rng.normal(size=(2, 8))
    time = jnp.array([0.3, 20.0])
    given = jnp.float32(x), time, Context(vector=jnp.float32(vector))
    weights = awake(net, *given)
    params = jax.tree.map(np.float64, weights["params"])

    def dense(name, a):
        return a @ params[name]["kernel"] + params[name]["bias"]

    emb = dense("emb2", swish(dense("emb1", np.float64(sinusoidal_embedding(time, 8)))))
    emb = swish(emb + vector)
    h = dense("in", x.reshape(2, 8))
    for i in range(2):
        scale, shift = np.split(dense(f"emb_block{i}", emb), 2, -1)
        normed = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-6)
        h = h + dense(f"narrow{i}", swish(dense(f"wide{i}", normed * (1 + scale) + shift)))
    expected = dense("out", swish(h)).reshape(2, 4, 3)
    np.testing.assert_allclose(net.apply(weights, *given), expected, rtol=1e-4, atol=1e-5)
