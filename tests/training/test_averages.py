"""Averages of the weights: laws of every row of the table, and the formula of each."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddm_jax.training.averages import AVERAGES, Ema
from ddm_jax.training.step import init_state

STEPS = 60
NAMES = sorted(AVERAGES)


def averaged(average, history):
    """The average after each of the weights history (n + 1, ...), whose first are the initial."""
    update, memory = jax.jit(average.update), average.init(history[0])
    found = []
    for n, params in enumerate(history[1:], 1):
        memory = update(memory, params, jnp.int32(n))
        found.append(average.read(memory))
    return np.array(found)


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_do_not_move_are_their_average(name):
    still = jnp.array([1.5, -2.0, 1e-20, 3e6])
    found = averaged(AVERAGES[name](), [still] * STEPS)
    np.testing.assert_allclose(found, np.tile(still, (STEPS - 1, 1)), rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_an_average_is_a_mean_of_the_weights_seen(name):
    """Of shares that are not negative and sum to 1, the same for every weight."""
    average = AVERAGES[name]()
    share = averaged(average, list(jnp.eye(STEPS)))
    assert (share >= 0).all() and share[-1, -1] > 0
    np.testing.assert_allclose(share.sum(1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(np.triu(share[:, 1:], 1), 0)  # none of a later step
    history = np.random.default_rng(0).normal(size=(STEPS, 3)).astype(np.float32)
    np.testing.assert_allclose(averaged(average, list(history)), share @ history, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_has_one_form_and_memory_of_its_own(name):
    """So the step compiles once, and may take the memory of the state before."""
    average = AVERAGES[name]()
    params = {"w": jnp.ones((2, 3)), "deep": {"b": jnp.zeros(4)}}
    state = init_state(params, optax.sgd(0.1), average)
    mine = {leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(params)}
    for leaf in jax.tree.leaves(state.ema_params):
        assert leaf.unsafe_buffer_pointer() not in mine
    form = jax.eval_shape(lambda: state.ema_params)
    assert jax.eval_shape(average.update, form, params, jnp.int32(3)) == form
    first = average.read(state.ema_params)
    assert jax.eval_shape(lambda: first) == jax.eval_shape(lambda: params)
    jax.tree.map(np.testing.assert_array_equal, first, params)


@pytest.mark.parametrize("warmup", [True, False])
@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9, 0.999])
def test_the_moving_average_is_what_numpy_computes(decay, warmup):
    history = np.random.default_rng(1).normal(size=(STEPS, 5))
    expected, mean = [], history[0]
    for n in range(1, STEPS):
        d = min(decay, (1 + n) / (10 + n)) if warmup else decay
        mean = d * mean + (1 - d) * history[n]
        expected.append(mean)
    found = averaged(Ema(decay, warmup), list(history.astype(np.float32)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
