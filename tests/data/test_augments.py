"""Augmentations: draws that belong to the example, and what they do to it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.data.augments import AUGMENTS, Mirror

pytestmark = pytest.mark.usefixtures("quick_compilation")

POSITIONS = np.arange(4000)


@pytest.mark.parametrize("name", AUGMENTS)
def test_draws_are_functions_of_seed_and_position(name):
    """Whatever the batch around them; and they are told apart by both, where there are any."""
    augment = AUGMENTS[name]()
    whole, part = augment.draw(3, POSITIONS), augment.draw(3, POSITIONS[70:80])
    assert whole.keys() == part.keys() == set(augment.columns)
    for column, drawn in whole.items():
        assert len(drawn) == len(POSITIONS)
        np.testing.assert_array_equal(part[column], drawn[70:80])
        assert (augment.draw(4, POSITIONS)[column] != drawn).any()
        assert (drawn[1:] != drawn[:-1]).any()


@pytest.mark.parametrize("name", AUGMENTS)
@pytest.mark.parametrize("shape", [(8,), (4, 6), (2, 4, 6)], ids=repr)
def test_what_it_does_to_an_example_depends_on_its_own_draws(name, shape):
    augment = AUGMENTS[name]()
    x = jax.random.normal(jax.random.key(0), (16, *shape, 2))
    drawn = augment.draw(0, POSITIONS[:16])
    whole = augment.apply(x, drawn)
    assert whole.shape == x.shape
    part = augment.apply(x[5:9], {column: values[5:9] for column, values in drawn.items()})
    np.testing.assert_array_equal(part, whole[5:9])


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_a_share_of_the_examples_is_mirrored(share):
    augment = Mirror(share)
    drawn = augment.draw(0, POSITIONS)
    assert drawn["mirrored"].mean() == pytest.approx(share, abs=0.03)
    x = jnp.arange(2 * 3 * 4.0).reshape(1, 2, 3, 4) + jnp.zeros((2, 1, 1, 1))
    got = augment.apply(x, {"mirrored": jnp.array([True, False])})
    np.testing.assert_array_equal(got[0], x[0, :, ::-1])
    np.testing.assert_array_equal(got[1], x[1])
    for wrong in (0.0, 1.1):
        with pytest.raises(ValueError, match="share"):
            Mirror(wrong)
