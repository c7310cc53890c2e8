"""Convolutions on few positions are those of XLA, without its slow loop."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ddm_jax.models.convolution import convolution
from ddm_jax.models.layers import Conv
from ddm_jax.models.magnitude import UnitConv


def axes(space):
    letters = "XYZ"[: len(space)]
    return f"N{letters}C", f"{letters}IO", f"N{letters}C"


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "space", [(1,), (2,), (1, 1), (2, 2), (1, 5), (3, 2), (4, 2), (1, 2, 3), (2, 3, 4)], ids=str
)
def test_it_is_the_convolution_of_xla_with_its_gradients(space, stride):
    rng = np.random.default_rng(len(space) + stride)
    x = jnp.float32(rng.normal(size=(3, *space, 4)))
    kernel = jnp.float32(rng.normal(size=(3,) * len(space) + (4, 5)))
    how = (stride,) * len(space), "SAME"

    def ours(x, kernel):
        return convolution(x, kernel, *how, dimension_numbers=axes(space))

    def theirs(x, kernel):
        return lax.conv_general_dilated(x, kernel, *how, dimension_numbers=axes(space))

    (out, back), (expected, expected_back) = (jax.vjp(f, x, kernel) for f in (ours, theirs))
    assert out.shape == expected.shape
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)
    dy = jnp.float32(rng.normal(size=out.shape))
    for mine, xlas in zip(back(dy), expected_back(dy), strict=True):
        np.testing.assert_allclose(mine, xlas, rtol=1e-4, atol=1e-4)
    few = math.prod(space) < 3 ** len(space)
    assert ("convolution" in jax.jit(ours).lower(x, kernel).as_text()) != few


@pytest.mark.parametrize("layer", [Conv(4), UnitConv(4, width=3)], ids=["Conv", "UnitConv"])
def test_layers_take_it(layer):
    x = jnp.ones((2, 2, 2, 3))
    params = layer.init(jax.random.key(0), x)
    assert "convolution" not in jax.jit(layer.apply).lower(params, x).as_text()
