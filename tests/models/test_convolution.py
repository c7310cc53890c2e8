"""Convolutions on few positions are those of XLA, without its slow loop."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import sparing
from jax import export, lax

from ddm_jax.models.convolution import Convolution, convolution, enlarged
from ddm_jax.models.layers import Conv
from ddm_jax.models.magnitude import UnitConv
from ddm_jax.models.resampling import upsample

pytestmark = pytest.mark.usefixtures("quick_compilation")


def axes(space):
    letters = "XYZ"[: len(space)]
    return f"N{letters}C", f"{letters}IO", f"N{letters}C"


SPACES = [(1,), (2,), (1, 1), (2, 2), (1, 5), (3, 2), (4, 2), (1, 2, 3), (2, 3, 4)]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("space", sparing(SPACES, lambda space: max(space) < 4), ids=str)
def test_it_is_the_convolution_of_xla_with_its_gradients(space, stride):
    rng = np.random.default_rng(len(space) + stride)
    x = jnp.float32(rng.normal(size=(3, *space, 4)))
    kernel = jnp.float32(rng.normal(size=(3,) * len(space) + (4, 5)))
    how = (stride,) * len(space), "SAME"

    def ours(x, kernel):
        return convolution(x, kernel, *how)

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


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize(
    "space", sparing([(5,), (4, 7), (3, 4, 5), (1, 2)], lambda space: len(space) < 3), ids=repr
)
def test_the_module_is_that_of_flax_with_its_gradient(space, width, stride):
    rng = np.random.default_rng(0)
    x = jnp.float32(rng.normal(size=(2, *space, 3)))
    taps, strides = (width,) * len(space), (stride,) * len(space)
    both = Convolution(4, width, stride), nn.Conv(4, taps, strides)
    params = [module.init(jax.random.key(1), x) for module in both]
    jax.tree.map(np.testing.assert_array_equal, *params)
    moved = jax.tree.map(lambda a: jnp.float32(a + rng.normal(size=a.shape)), params[0])
    weight = jnp.float32(rng.normal(size=both[0].apply(moved, x).shape))

    def of(module):
        return jax.jit(jax.value_and_grad(lambda p, x: (weight * module.apply(p, x)).sum(), (0, 1)))

    ours, theirs = (of(module)(moved, x) for module in both)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), ours, theirs)


def test_its_type_is_that_of_what_comes_out_and_weights_stay_float32():
    module, x = Convolution(4, dtype=jnp.bfloat16), jnp.ones((1, 5, 3))
    params = module.init(jax.random.key(1), x)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    assert module.apply(params, x).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    "space", sparing([(1,), (5,), (2, 3), (4, 1), (2, 3, 4)], lambda space: len(space) < 3), ids=str
)
def test_that_of_what_is_enlarged_is_that_of_copies_with_its_gradients(space):
    rng = np.random.default_rng(len(space))
    x = jnp.float32(rng.normal(size=(2, *space, 3)))
    kernel = jnp.float32(rng.normal(size=(3,) * len(space) + (3, 4)))
    names = lax.conv_dimension_numbers(x.shape, kernel.shape, axes(space))

    def copied(x, kernel):
        one = (1,) * len(space)
        big = upsample(x)
        return lax.conv_general_dilated(big, kernel, one, "SAME", dimension_numbers=names)

    def ours(x, kernel):
        return enlarged(x, kernel)

    (out, back), (expected, expected_back) = (jax.vjp(f, x, kernel) for f in (ours, copied))
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)
    dy = jnp.float32(rng.normal(size=out.shape))
    for mine, copies in zip(back(dy), expected_back(dy), strict=True):
        np.testing.assert_allclose(mine, copies, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("platform", "sizes"), [("cpu", 4 * ["4x4"]), ("cuda", ["8x8"])])
def test_copies_have_convolutions_of_their_own_on_a_cpu_alone(platform, sizes):
    x, kernel = jnp.ones((2, 4, 4, 3)), jnp.ones((3, 3, 3, 4))
    lowered = export.export(jax.jit(enlarged), platforms=[platform])
    lines = lowered(x, kernel).mlir_module().splitlines()
    found = [line for line in lines if "stablehlo.convolution" in line]
    assert all(f"-> tensor<2x{n}x4xf32>" in line for line, n in zip(found, sizes, strict=True))
