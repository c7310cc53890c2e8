"""Dropout of a batch against that of each example alone by Flax: two ways to the same masks."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.models.dropout import Dropout, own_masks

pytestmark = pytest.mark.usefixtures("quick_compilation")

KEYS = jax.random.split(jax.random.key(5), 3)
X = jax.random.normal(jax.random.key(6), (3, 4, 5))


class Twice(nn.Module):
    """Two layers, so that each has masks of its own; `theirs` by Flax, where rng is one key."""

    theirs: bool = False

    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            layer = nn.Dropout(0.4, deterministic=False) if self.theirs else Dropout(0.4, True)
            x = layer(x)
        return x


def ours(x, keys, module=None):
    return (module or Twice()).apply({}, x, rngs=own_masks(keys))


def test_it_draws_for_a_batch_what_flax_draws_for_each_example_alone():
    def alone(x, key):
        return Twice(theirs=True).apply({}, x[None], rngs={"dropout": key})[0]

    np.testing.assert_array_equal(jax.jit(ours)(X, KEYS), jax.jit(jax.vmap(alone))(X, KEYS))


def test_a_mask_belongs_to_the_example_wherever_it_stands():
    order = jnp.array([2, 0, 1])
    np.testing.assert_array_equal(ours(X, KEYS)[order], ours(X[order], KEYS[order]))
    np.testing.assert_array_equal(ours(X, KEYS)[1:2], ours(X[1:2], KEYS[1:2]))


def test_rows_of_one_example_have_masks_of_their_own_from_its_key():
    """As the frames of a clip that a network works on side by side."""
    rows = jnp.ones((6, 50))
    kept = ours(rows, KEYS) > 0
    assert not np.array_equal(kept[0], kept[1])
    np.testing.assert_array_equal(kept[2:4], ours(rows[:2], KEYS[1:2]) > 0)


def test_what_is_kept_makes_up_for_what_is_not():
    x = jnp.ones((3, 20_000))
    out = np.asarray(ours(x, KEYS, Dropout(0.3, True)))
    assert set(np.unique(out).round(5)) == {0.0, np.float32(1 / 0.7).round(5)}
    assert abs(out.mean(1) - 1).max() < 5 * (0.3 / 0.7 / 20_000) ** 0.5


@pytest.mark.parametrize("layer", [Dropout(0.0, True), Dropout(0.5, False)], ids=repr)
def test_without_a_rate_or_training_nothing_is_drawn(layer):
    np.testing.assert_array_equal(layer.apply({}, X), X)


def test_layers_that_are_computed_again_draw_the_same_once_more():
    """As remat does for the backward pass: the gradient by x is the mask that was seen."""
    again = nn.remat(Twice)()

    def seen(x):
        return ours(x, KEYS, again).sum()

    np.testing.assert_allclose(jax.jit(jax.grad(seen))(X) * X, ours(X, KEYS), rtol=1e-6)
