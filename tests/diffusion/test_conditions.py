"""Dropping conditions: by example, on every raw array alike."""

import jax
import jax.numpy as jnp
import numpy as np

from ddm_jax.diffusion.conditions import Context, drop

COUNT = 64
KEYS = jax.random.split(jax.random.key(0), COUNT)


class Pair:
    """A condition of several raw arrays, one of them square: B = L."""

    def null(self, count):
        return jax.tree.map(lambda a: jnp.full((count, *a.shape[1:]), -1, a.dtype), RAW)

    def embed(self, params, raw):
        return Context()


RAW = {
    "class": jnp.arange(COUNT),
    "tokens": jnp.arange(COUNT * COUNT).reshape(COUNT, COUNT),
    "picture": jnp.ones((COUNT, 4, 4, 1)),
}


def test_examples_are_dropped_whole_also_where_an_array_is_square():
    got = drop(Pair(), RAW, KEYS, 0.5)
    gone = np.asarray(got["class"]) == -1
    assert 16 < gone.sum() < 48
    for name, leaf in got.items():
        flat = np.asarray(leaf).reshape(COUNT, -1)
        assert (flat[gone] == -1).all(), name
        np.testing.assert_array_equal(flat[~gone], np.asarray(RAW[name]).reshape(COUNT, -1)[~gone])


def test_an_example_is_dropped_by_its_own_key():
    """Whatever the batch around it."""
    whole = drop(Pair(), RAW, KEYS, 0.5)
    part = drop(Pair(), jax.tree.map(lambda a: a[10:20], RAW), KEYS[10:20], 0.5)
    for name in RAW:
        np.testing.assert_array_equal(part[name], whole[name][10:20])


def test_rates_0_and_1_drop_none_and_all():
    for rate, gone in ((0.0, 0), (1.0, COUNT)):
        assert (np.asarray(drop(Pair(), RAW, KEYS, rate)["class"]) == -1).sum() == gone


def test_no_condition_has_nothing_to_drop():
    class Silent(Pair):
        def null(self, count):
            return None

    assert drop(Silent(), None, KEYS, 0.5) is None
