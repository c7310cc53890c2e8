"""Sums over positions against those of NumPy, and as a CPU and other machines compute them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from ddm_jax.models.reductions import biased, mean, spread, total

pytestmark = pytest.mark.usefixtures("quick_compilation")

RNG = np.random.default_rng(0)
LARGE = (1400,), (40, 35), (10, 14, 10)  # with 6 channels more than 2^13 numbers an example
SPACES = pytest.mark.parametrize("space", [(), (7,), (3, 5), (2, 3, 4), *LARGE], ids=repr)


@SPACES
def test_sums_and_means_are_those_of_numpy(space):
    x = RNG.normal(size=(3, *space, 6)).astype(np.float32)
    flat = np.float64(x).reshape(3, -1, 6)
    np.testing.assert_allclose(jax.jit(total)(x), flat.sum(1), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(jax.jit(mean)(x), flat.mean(1), rtol=1e-5, atol=1e-6)


@SPACES
def test_spreading_repeats_and_its_gradient_is_the_sum(space):
    a, shape = RNG.normal(size=(3, 6)).astype(np.float32), (3, *space, 6)
    out, back = jax.vjp(lambda a: spread(a, shape), a)
    expanded = a.reshape(3, *(1,) * len(space), 6)
    np.testing.assert_array_equal(out, np.broadcast_to(expanded, shape))
    weight = RNG.normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(back(weight)[0], total(weight), rtol=1e-6)
    np.testing.assert_array_equal(jax.vjp(total, weight)[1](jnp.asarray(a))[0], out)


@SPACES
def test_a_bias_is_added_at_each_position_and_its_gradient_sums_over_all(space):
    y = RNG.normal(size=(3, *space, 6)).astype(np.float32)
    bias, weight = RNG.normal(size=6).astype(np.float32), RNG.normal(size=y.shape)
    out, back = jax.vjp(biased, y, bias)
    np.testing.assert_allclose(out, y + bias, rtol=1e-6)
    by_y, by_bias = back(jnp.float32(weight))
    np.testing.assert_array_equal(by_y, np.float32(weight))
    np.testing.assert_allclose(by_bias, weight.reshape(-1, 6).sum(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("places", [5, 1400])
def test_in_forward_mode_and_example_by_example(places):
    y, bias, along = (jnp.float32(RNG.normal(size=s)) for s in ((3, places, 6), (6,), (6,)))
    slope = jax.jvp(lambda b: biased(y, b), (bias,), (along,))[1]
    np.testing.assert_allclose(slope, np.broadcast_to(along, y.shape), rtol=1e-6)
    each = jax.vmap(lambda y: biased(y[None], bias)[0])(y)
    np.testing.assert_array_equal(each, biased(y, bias))


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_an_example_is_summed_the_same_in_any_batch(batch):
    x = jnp.float32(RNG.normal(size=(7, 300, 6)))
    np.testing.assert_array_equal(total(x[:batch]), total(x)[:batch])
    lowered = jax.jit(jax.grad(lambda b, x: biased(x, b).sum())).lower(x[0, 0], x[:batch])
    assert "dot_general" not in lowered.as_text()


def test_ones_of_bfloat16_are_counted_to_the_last():
    """Sums that are rounded on the way stand still at some thousands."""
    y, bias = jnp.ones((1, 2**16, 2), jnp.bfloat16), jnp.zeros(2, jnp.bfloat16)
    found = jax.jit(jax.grad(lambda b: jnp.float32(biased(y, b)).sum()))(bias)
    np.testing.assert_array_equal(np.float32(found), 2.0**16)


@pytest.mark.parametrize(
    ("places", "platform", "products"),
    [(1400, "cpu", 3), (5, "cpu", 0), (1400, "cuda", 0), (1400, "tpu", 0)],
)
def test_products_stand_for_sums_of_large_examples_on_a_cpu_alone(places, platform, products):
    """Elsewhere a product would round to fewer bits, and fuse with nothing."""

    def both(x):
        return mean(spread(total(x), x.shape) * x)

    lowered = export.export(jax.jit(both), platforms=[platform])(jnp.ones((2, places, 6)))
    assert lowered.mlir_module().count("stablehlo.dot_general") == products
