"""What muon does with kernels: the laws of steepest descent under the spectral norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.models.magnitude import UNIT
from ddm_jax.training.optim import OPTIMIZERS, Optim

pytestmark = pytest.mark.usefixtures("quick_compilation")

RATE = 0.01


def updates(params, *grads, **settings):
    """The last update of a run of gradients, without clipping and forcing of sizes."""
    settings = Optim(name="muon", lr=RATE, **settings)
    tx = OPTIMIZERS["muon"](settings, lambda n: settings.rate(n, 10))
    state = tx.init(params)
    for grad in grads:
        update, state = jax.jit(tx.update)(grad, state, params)
    return update


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def of_kernel(*grads, start=None, **settings):
    start = jnp.zeros_like(grads[0]) if start is None else start
    return updates({"kernel": start}, *({"kernel": grad} for grad in grads), **settings)["kernel"]


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (9, 9)])
def test_an_update_is_nearly_orthogonal_and_as_large_as_one_of_adam(shape):
    update = np.asarray(of_kernel(normal(1, *shape)))
    sizes = np.linalg.svd(update, compute_uv=False) / (RATE * 0.2 * np.sqrt(max(shape)))
    assert 0.6 < sizes.min() and sizes.max() < 1.3
    assert np.sqrt((update**2).mean()) == pytest.approx(0.2 * RATE, rel=0.2)


def test_it_has_the_singular_vectors_of_the_gradient_and_goes_down():
    grad = np.asarray(normal(2, 12, 7))
    left, _, right = np.linalg.svd(grad, full_matrices=False)
    inside = left.T @ np.asarray(of_kernel(grad)) @ right.T
    assert abs(inside - np.diag(np.diag(inside))).max() < 1e-3 * abs(inside).max()
    assert np.diag(inside).max() < 0


def test_of_equal_gradients_size_does_not_matter_and_rotations_carry_over():
    grad, turn = normal(3, 10, 6), jnp.linalg.qr(normal(4, 10, 10))[0]
    update = of_kernel(grad, grad)
    np.testing.assert_allclose(of_kernel(1e3 * grad, 1e3 * grad), update, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(of_kernel(turn @ grad, turn @ grad), turn @ update, atol=1e-6)


def test_the_momentum_is_of_all_gradients():
    """g and then -g: the newer has the greater share, and the older still shows."""
    one, other = normal(5, 8, 8), normal(6, 8, 8)
    assert abs(of_kernel(one, other) - of_kernel(other)).max() > 0.1 * RATE
    along = (of_kernel(one, -one) * one).sum()
    assert along > 0


def test_a_kernel_of_taps_is_the_matrix_of_its_outputs():
    grad = normal(7, 3, 3, 4, 6)
    flat = of_kernel(grad.reshape(-1, 6)).reshape(grad.shape)
    np.testing.assert_allclose(of_kernel(grad), flat, rtol=1e-5)
    named = updates({UNIT: jnp.zeros_like(grad)}, {UNIT: grad})[UNIT]
    np.testing.assert_allclose(named, flat, rtol=1e-5)


def test_weights_that_are_no_kernels_are_adams():
    """A table of classes has two axes too, and no outputs."""
    params = {"bias": normal(8, 5), "embedding": normal(9, 4, 5)}
    moved = updates(params, jax.tree.map(lambda a: 7 * a, params), b1=0.8, b2=0.9)
    for name, start in params.items():
        np.testing.assert_allclose(moved[name], -RATE * jnp.sign(start), rtol=0.5)
        assert np.ptp(abs(moved[name])) < 1e-6


def test_weight_decay_pulls_kernels_alone():
    start, grad = normal(10, 6, 4), normal(11, 6, 4)
    pulled = of_kernel(grad, start=start, weight_decay=0.3)
    free = of_kernel(grad, start=start)
    np.testing.assert_allclose(pulled - free, -RATE * 0.3 * start, rtol=1e-3, atol=1e-7)
    bias = {"bias": normal(12, 4)}
    np.testing.assert_array_equal(
        updates(bias, bias, weight_decay=0.3)["bias"], updates(bias, bias)["bias"]
    )
