"""Laws of the densities of training times, and of how a batch draws from them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.diffusion.losses.importance import History, Importance
from ddm_jax.diffusion.losses.time_samplers import TIME_SAMPLERS, UNIFORMS, Discrete, uniforms
from ddm_jax.diffusion.schedules.discrete import Constant, Cosine

pytestmark = pytest.mark.usefixtures("quick_compilation")

KEY = jax.random.key(3)


U = (jnp.arange(5000) + 0.5) / 5000


@pytest.mark.parametrize("name", TIME_SAMPLERS)
def test_quantiles_rise_within_the_unit_interval(name):
    times = TIME_SAMPLERS[name]()
    memory = times.init(Cosine())
    t = times.quantile(Cosine(), U, memory)
    assert (jnp.diff(t) >= 0).all() and t[0] >= 0 and t[-1] <= 1 and t[-1] - t[0] > 0.5
    assert (times.weight(t, memory) > 0).all()
    after = times.update(memory, t, jnp.ones_like(t))
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, memory)


def normal_cdf(z):
    return 0.5 * (1 + np.vectorize(math.erf)(z / np.sqrt(2)))


def published(t):
    """The distribution functions at times t on the cosine schedule."""
    logsnr = np.asarray(Cosine().logsnr(jnp.asarray(t)), np.float64)
    high, low = map(float, Cosine().logsnr(jnp.array([0.0, 1.0])))
    with np.errstate(divide="ignore"):
        return {
            "uniform": t,
            "discrete": t,
            "log_normal": normal_cdf((-0.5 * logsnr + 1.2) / 1.2),
            "logit_normal": normal_cdf(np.log(t / (1 - t))),
            "log_uniform": (high - logsnr) / (high - low),
            "importance": t,
        }


@pytest.mark.parametrize("name", published(np.array([0.5])))
def test_times_have_their_published_distribution(name):
    times = TIME_SAMPLERS[name]()
    t = np.asarray(times.quantile(Cosine(), U, times.init(Cosine())), np.float64)
    inside = (t > 0) & (t < 1)
    assert abs(published(t)[name] - U)[inside].max() < 2e-3


def test_discrete_times_are_the_levels_both_ends_included():
    t = Discrete().quantile(Constant(num_timesteps=4), U, ())
    levels, counts = np.unique(np.round(np.asarray(t) * 3).astype(int), return_counts=True)
    np.testing.assert_allclose(np.asarray(t) * 3, np.round(np.asarray(t) * 3), atol=1e-6)
    assert list(levels) == [0, 1, 2, 3] and (counts == 1250).all()


@pytest.mark.parametrize("kind", UNIFORMS)
def test_uniforms_are_uniform_and_do_not_depend_on_the_split(kind):
    draw = jax.jit(lambda key, place: uniforms(kind, key, place, 8))
    keys = jax.random.split(KEY, 500)
    u = np.asarray(jax.vmap(lambda k: draw(k, jnp.arange(8)))(keys))
    assert (u > 0).all() and (u < 1).all()
    flat = np.sort(u.ravel())
    assert abs(flat - (np.arange(4000) + 0.5) / 4000).max() < 0.03  # Kolmogorov-Smirnov
    np.testing.assert_array_equal(draw(keys[0], jnp.array([6, 1])), u[0, [6, 1]])
    # The mean of a batch: of 8 draws, of 4 pairs that cancel, and one draw on an eighth.
    spread = {"independent": 1 / 96, "antithetic": 0.0, "stratified": 1 / 768}[kind]
    assert u.mean(axis=1).var() == pytest.approx(spread, rel=0.2, abs=1e-9)


def test_antithetic_draws_come_in_pairs_and_stratified_ones_one_to_a_part():
    place = jnp.arange(10)
    u = np.asarray(uniforms("antithetic", KEY, place, 10))
    np.testing.assert_allclose(u[::2] + u[1::2], 1, atol=1e-6)
    assert len(np.unique(np.round(u, 5))) == 10
    u = np.asarray(uniforms("stratified", KEY, place, 10))
    assert sorted(np.floor(u * 10).astype(int)) == list(range(10))
    np.testing.assert_allclose(np.diff(np.sort(u)), 0.1, atol=1e-6)


def levels(count):
    """A schedule of so many levels."""
    return Constant(num_timesteps=count)


def seen(count, size, rounds):
    """Losses 1 + 9 t with their times, dealt in batches of `size` over `count` levels in turn."""
    for k in range(rounds):
        level = (jnp.arange(size) + k * size) % count
        t = level / (count - 1)
        yield t, 1 + 9 * t


def test_importance_is_uniform_until_every_level_has_its_history():
    times = Importance(history=3)
    memory = times.init(levels(5))
    for t, loss in seen(5, 5, 3):
        np.testing.assert_allclose(times.probabilities(memory), 0.2)
        np.testing.assert_allclose(times.weight(t, memory), 1.0)
        memory = times.update(memory, t, loss)
    root = 1 + 9 * np.linspace(0, 1, 5)
    expected = 0.001 / 5 + 0.999 * root / root.sum()
    np.testing.assert_allclose(times.probabilities(memory), expected, rtol=1e-5)


def test_importance_follows_the_root_of_the_mean_square_of_unequal_losses():
    """sqrt(E L^2), in float64, which exceeds E |L| where a level's losses differ."""
    times = Importance(history=2, uniform=0.2)
    losses = np.array([[1.0, 7.0], [4.0, 4.0], [0.0, 2.0]])
    p = times.probabilities(History(jnp.float32(losses), jnp.array([2, 5, 2])))
    root = np.sqrt([25.0, 16.0, 2.0])
    np.testing.assert_allclose(p, 0.2 / 3 + 0.8 * root / root.sum(), rtol=1e-6)


def test_importance_sampling_is_unbiased_and_follows_the_second_moment():
    times = Importance(history=2, uniform=0.1)
    memory = times.init(levels(20))
    for t, loss in seen(20, 40, 1):
        memory = times.update(memory, t, loss)
    t = times.quantile(Cosine(), U, memory)
    level = np.round(np.asarray(t) * 19).astype(int)
    share = np.bincount(level, minlength=20) / len(U)
    np.testing.assert_allclose(share, times.probabilities(memory), atol=1e-3)
    estimate = float((times.weight(t, memory) * jnp.cos(3 * t)).mean())
    assert estimate == pytest.approx(float(jnp.cos(3 * jnp.linspace(0, 1, 20)).mean()), abs=2e-3)


def test_a_history_holds_the_last_losses_of_each_level_in_order():
    """Against a loop over the examples, also with more of a level in a batch than it holds."""
    times, rng = Importance(history=4), np.random.default_rng(0)
    memory, count = times.init(levels(3)), np.zeros(3, int)
    held = np.zeros((3, 4), np.float32)
    update = jax.jit(times.update)
    for _ in range(6):
        level, loss = rng.integers(0, 3, 24), rng.random(24, np.float32)
        for i, value in zip(level, loss, strict=True):
            held[i, count[i] % 4] = value
            count[i] += 1
        memory = update(memory, jnp.asarray(level / 2, jnp.float32), jnp.asarray(loss))
    np.testing.assert_array_equal(memory.loss, held)
    np.testing.assert_array_equal(memory.count, count)
    assert isinstance(memory, History)


def test_refusals():
    for wrong in ({"history": 0}, {"uniform": 0.0}):
        with pytest.raises(ValueError, match="needs history"):
            Importance(**wrong)
