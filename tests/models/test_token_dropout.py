"""Tokens that training hides from a network, so that it learns words one by one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_frozen_text import TOY
from test_text import TEXT, random

pytestmark = pytest.mark.usefixtures("quick_compilation")

CAPTIONS = ["a b c d", "a b", ""]
COUNT = 3 * 400
KEYS = jax.random.split(jax.random.key(7), COUNT)
RATE = 0.3


def there(raw):
    """Which tokens (B, length) a network hears of; that before every text is not among them."""
    return np.asarray(raw.there) if hasattr(raw, "there") else np.asarray(raw)[:, 1:] > 0


@pytest.fixture(params=[TEXT, TOY], ids=["tokens", "vectors"])
def condition(request):
    return dataclasses.replace(request.param, token_dropout=RATE)


@pytest.fixture
def raw(condition):
    return condition.ask(CAPTIONS * (COUNT // 3))


@pytest.fixture
def noised(condition, raw):
    return condition.noised(raw, KEYS, training=True)


def test_each_token_is_hidden_as_often_as_asked_and_apart_from_the_others(raw, noised):
    before, after = there(raw), there(noised)
    assert not (after & ~before).any()
    kept = after[::3][:, : before[0].sum()].astype(float)  # of the longest caption
    np.testing.assert_allclose(kept.mean(0), 1 - RATE, atol=0.1)  # 4 standard deviations
    together = np.corrcoef(kept.T) - np.eye(kept.shape[1])
    assert abs(together).max() < 0.25  # 5 standard deviations
    assert abs(np.corrcoef(kept[:-1, 0], kept[1:, 0])[0, 1]) < 0.25  # of two examples


def test_what_is_kept_stays_as_it_is_and_where_it_is(condition, raw, noised):
    kept = there(noised)
    values = (lambda r: r.vectors) if hasattr(raw, "vectors") else (lambda r: r[:, 1:])
    np.testing.assert_array_equal(np.asarray(values(noised))[kept], np.asarray(values(raw))[kept])
    if condition.__class__ is TEXT.__class__:
        np.testing.assert_array_equal(noised[:, 0], raw[:, 0])


def test_a_text_of_which_all_is_hidden_says_what_none_says(condition, raw):
    """The embedding is that of the null, where the network hears it."""
    params = random(condition.init(jax.random.key(0)))
    hidden = condition.hide(raw, jnp.ones((COUNT, condition.length), bool))
    embed = jax.jit(condition.embed)
    one = embed(params, jax.tree.map(lambda a: a[:2], hidden))
    null = embed(params, condition.null(2))
    np.testing.assert_array_equal(one.mask, null.mask)
    np.testing.assert_allclose(one.vector, null.vector, atol=1e-6)
    np.testing.assert_allclose(
        np.asarray(one.sequence)[one.mask], np.asarray(null.sequence)[null.mask], atol=1e-6
    )


def test_nothing_is_hidden_in_sampling_nor_at_rate_zero(condition, raw):
    assert condition.noised(raw, KEYS, training=False) is raw
    never = dataclasses.replace(condition, token_dropout=0.0)
    assert never.noised(raw, KEYS, training=True) is raw


def test_what_is_hidden_depends_on_the_example_alone(condition, raw, noised):
    some = slice(5, 11)
    part = condition.noised(jax.tree.map(lambda a: a[some], raw), KEYS[some], training=True)
    for one, whole in zip(jax.tree.leaves(part), jax.tree.leaves(noised), strict=True):
        np.testing.assert_array_equal(one, whole[some])


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_rate_that_is_none_is_refused(condition, rate):
    with pytest.raises(ValueError, match="share of tokens that training hides"):
        dataclasses.replace(condition, token_dropout=rate)
