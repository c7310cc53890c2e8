"""Pictures that are noised before a network is told them, in training and when it is sampled."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_image_condition import COLUMNS, DATA, SHRUNK, away_from_rest, maps, setup

from ddm_jax.data.augments import NO_AUGMENT
from ddm_jax.data.pipeline import feed
from ddm_jax.diffusion.arrays import normal_like
from ddm_jax.models.conditions.image import Image
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.edits.base import Inputs, carry_out
from ddm_jax.tasks.edits.upscale import Upscale
from ddm_jax.tasks.generator import Asked
from ddm_jax.training.base import Constants
from ddm_jax.verbs import names

pytestmark = pytest.mark.usefixtures("quick_compilation")

NOISY = Image(0, DATA.spec, 2, noise=0.6, sampling_noise=0.25)
MANY = {"x": np.resize(COLUMNS["x"], (600, 8, 12, 3))}
KEYS = jax.random.split(jax.random.key(3), 600)
SETTINGS = ("condition.image.noise=0.6", "condition.image.sampling_noise=0.25")


def deviations(before, after):
    """(x_s - sqrt(1 - s^2) z) / s, from the level that is told."""
    s = np.asarray(after.level)[:, None, None, None]
    return (np.asarray(after.pixels) - np.sqrt(1 - s**2) * before.pixels) / s


def test_levels_of_training_lie_in_their_range_and_are_those_of_the_noise_that_is_added():
    before = NOISY.raw(MANY)
    after = NOISY.noised(before, KEYS, training=True)
    level = np.sort(after.level)
    assert level[0] >= 0 and level[-1] <= 0.6
    assert abs(level - 0.6 * (np.arange(600) + 0.5) / 600).max() < 0.05  # uniform
    eps = deviations(before, after)
    assert abs(eps.mean()) < 0.02
    less = np.asarray(after.level) < np.median(after.level)
    assert abs(eps[less].std() - 1) < 0.03 and abs(eps[~less].std() - 1) < 0.03
    for one, other in ((eps[:-1], eps[1:]), (eps, before.pixels)):  # of neighbours, of the picture
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.03


def test_a_network_is_told_the_level_beside_the_picture():
    raw = NOISY.noised(NOISY.raw(COLUMNS), KEYS[:12], training=True)
    told = maps(NOISY, raw)
    assert told.shape == (12, 8, 12, 5) and (told[..., 3] == 1).all()
    np.testing.assert_array_equal(
        told[..., 4], np.asarray(raw.level)[:, None, None] + 0 * told[..., 0]
    )
    np.testing.assert_array_equal(told[:, ::2, ::2, :3], raw.pixels)


def test_without_noise_all_is_as_it_was():
    raw = SHRUNK.raw(COLUMNS)
    assert raw.level is None and SHRUNK.null(2).level is None and SHRUNK.ask([]).level is None
    for training in (True, False):
        assert SHRUNK.noised(raw, KEYS[:12], training) is raw
    assert len(jax.tree.leaves(raw)) == 2 and maps(SHRUNK, raw).shape[-1] == 4


def test_at_level_zero_a_picture_is_told_as_it_is():
    clean = dataclasses.replace(NOISY, sampling_noise=0.0)
    raw = clean.noised(clean.raw(COLUMNS), KEYS[:12], training=False)
    np.testing.assert_array_equal(raw.pixels, SHRUNK.raw(COLUMNS).pixels)
    told = maps(clean, raw)
    np.testing.assert_array_equal(told[..., :4], maps(SHRUNK, SHRUNK.raw(COLUMNS)))
    assert not told[..., 4].any()


def test_where_there_is_no_picture_there_is_no_noise():
    for training in (True, False):
        raw = NOISY.noised(NOISY.null(12), KEYS[:12], training)
        assert not any(np.asarray(leaf).any() for leaf in raw)


def prepared(made, key, part=slice(None)):
    fed = {
        name: value[part]
        for name, value in feed(DATA, 0, 12, 0, augment=NO_AUGMENT, by_index=False).items()
    }
    return made.task.prepare(fed, Constants(None, {}), key)


def test_draws_of_training_belong_to_the_step_and_the_example():
    made, key = setup("mlp", *SETTINGS), jax.random.key(5)
    whole = prepared(made, key)
    half = prepared(made, key, slice(6, None))
    np.testing.assert_allclose(half.cond.level, whole.cond.level[6:])
    np.testing.assert_allclose(half.cond.pixels, whole.cond.pixels[6:], atol=1e-6)
    assert len({*np.asarray(whole.cond.level).tolist()}) == 12
    next_step = prepared(made, jax.random.key(6))
    assert (next_step.cond.level != whole.cond.level).all()
    np.testing.assert_array_equal(prepared(setup(), key).x0, whole.x0)


def test_samples_are_told_a_fixed_level_of_a_noise_of_their_own():
    generator = setup("mlp", *SETTINGS).task.generator
    raw = jax.tree.map(lambda a: np.repeat(a[:1], 4, 0), NOISY.raw(COLUMNS))
    asked = Asked(raw, jnp.zeros(4, jnp.int32))
    told = generator.told(asked, jnp.array([0, 1, 2, 1])).raw
    np.testing.assert_allclose(told.level, 0.25)
    eps = deviations(raw, told)
    np.testing.assert_array_equal(eps[1], eps[3])
    assert abs(eps[0] - eps[1]).max() > 0.5 and 0.8 < eps[0].std() < 1.2
    other = dataclasses.replace(generator, options=dataclasses.replace(generator.options, seed=1))
    assert (other.told(asked, jnp.arange(4)).raw.pixels != told.pixels).any()
    for key in (generator.noise_key(jnp.arange(1)), generator.sampler_key(jnp.arange(1))):
        assert abs(normal_like(key, told.pixels[:1])[0] - eps[0]).max() > 0.5


def test_an_edit_draws_from_what_a_sample_draws_from():
    """Two routes: upscaling, and sampling of the same numbers under the same pictures."""
    made = setup("mlp", "sample.steps=2", *SETTINGS)
    generator, weights = made.task.generator, Weights(away_from_rest(made.init_params()))
    numbers = np.array([4, 1, 7], np.int32)
    asked = Asked(jax.tree.map(lambda a: a[:3], NOISY.raw(COLUMNS)), jnp.zeros(3, jnp.int32))
    times = np.asarray(generator.times(weights))

    @jax.jit
    def both():
        edited = carry_out(Upscale(), generator, weights, Inputs(times, numbers, asked))
        sampled = generator.generate_as(weights, jnp.asarray(numbers), asked)
        clean = generator.generate_as(weights, jnp.asarray(numbers) + 1, asked)
        return edited.values, sampled, clean

    edited, sampled, other = both()
    np.testing.assert_allclose(edited, sampled, atol=1e-6)
    assert abs(edited - other).max() > 1e-3


def test_the_level_of_sampling_names_what_is_drawn_and_may_change():
    made = [setup("mlp", SETTINGS[0], f"condition.image.sampling_noise={s}") for s in (0, 0.25)]
    drawn = [names.drawing(one.task.generator, {}) for one in made]
    assert drawn[1].pop("condition") == {"sampling_noise": 0.25} != drawn[0].pop("condition")
    assert drawn[0] == drawn[1] and "condition" not in names.drawing(setup().task.generator, {})
    assert "condition.image.sampling_noise" in type(made[0].task).free


@pytest.mark.parametrize(
    "noise, sampling, reason",
    [
        (1.5, 0.0, "noise=1.5 is the largest standard deviation"),
        (-0.1, 0.0, "it lies in [0, 1]"),
        (0.3, 0.4, "sampling_noise=0.4 must lie in [0, noise=0.3]"),
        (0.0, 0.1, "sampling_noise=0.1 must lie in [0, noise=0.0]"),
        (0.3, -0.1, "the noise that training shows"),
    ],
)
def test_levels_outside_their_range_are_refused(noise, sampling, reason):
    with pytest.raises(ValueError) as caught:
        dataclasses.replace(NOISY, noise=noise, sampling_noise=sampling)
    assert reason in str(caught.value)
