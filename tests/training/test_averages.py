"""Averages of the weights: laws of every row of the table, and the formula of each."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddm_jax.training.averages import AVERAGES, Ema, HalfLife, Power
from ddm_jax.training.power_function import Profile, exponent, mixture
from ddm_jax.training.step import init_state

pytestmark = pytest.mark.usefixtures("quick_compilation")

STEPS = 60
NAMES = sorted(AVERAGES)


def averaged(average, history, batch=4):
    """The average after each of the weights history (n + 1, ...), whose first are the initial."""
    update, memory = jax.jit(average.update, static_argnums=3), average.init(history[0])
    found = []
    for n, params in enumerate(history[1:], 1):
        memory = update(memory, params, jnp.int32(n), batch)
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
    assert jax.eval_shape(average.update, form, params, jnp.int32(3), 4) == form
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


@pytest.mark.parametrize("batch", [5, 20])
def test_half_of_a_step_is_seen_after_the_half_life_in_images(batch):
    """Whatever the batch: weights that jump from 0 to 1 after the first update."""
    history = [jnp.zeros(1)] * 2 + [jnp.ones(1)] * STEPS
    found = averaged(HalfLife(images=100.0, ramp_up=0.0), history, batch)
    for lives in (1, 2, 3):
        assert found[100 // batch * lives, 0] == pytest.approx(1 - 0.5**lives, rel=1e-5)


def test_the_half_life_is_a_share_of_the_images_seen_at_first():
    """Update n leaves 2^(-B / h) of what was there, with h = min(images, ramp_up n B)."""
    average = HalfLife(images=100.0, ramp_up=0.5)
    for n, life in ((1, 4.0), (10, 40.0), (25, 100.0), (1000, 100.0)):
        left = average.update(jnp.ones(1), jnp.zeros(1), n, 8)
        assert left[0] == pytest.approx(0.5 ** (8 / life), rel=1e-5)


@pytest.mark.parametrize("std", [0.05, 0.15, 0.28])
def test_shares_of_a_power_average_are_the_closed_form(std):
    """Step i has (i^(g + 1) - (i - 1)^(g + 1)) / n^(g + 1), whose deviation is the length."""
    n, i = 400, np.arange(401)
    share = averaged(Power((std,)), list(jnp.eye(n + 1)))[-1]
    edges = (i / n) ** (exponent(std) + 1)
    assert share[0] == 0
    np.testing.assert_allclose(share[1:], np.diff(edges), rtol=2e-4, atol=1e-9)
    middle = (i[1:] - 0.5) / n
    mean = (share[1:] * middle).sum()
    assert np.sqrt((share[1:] * (middle - mean) ** 2).sum()) == pytest.approx(std, rel=2e-3)


def kept_at(steps, average, history):
    """{step: memory} of an average over a history (n + 1, ...)."""
    update, memory, found = jax.jit(average.update, static_argnums=3), average.init(history[0]), {}
    for n, params in enumerate(history[1:], 1):
        memory = update(memory, params, jnp.int32(n), 4)
        if n in steps:
            found[n] = memory
    return found


def made_of(average, kept):
    """The average at the last step of what was kept."""
    parts = [average.portion(kept[s], w) for s, w in average.shares(sorted(kept)).items()]
    return np.sum(parts, 0)


@pytest.fixture(scope="module")
def walk():
    """Weights that drift and shake, (401, 32)."""
    moves = np.random.default_rng(2).normal(size=(401, 32))
    return jnp.asarray(5 + np.cumsum(0.1 * moves, 0) + moves, jnp.float32)


@pytest.fixture(scope="module")
def kept(walk):
    return kept_at(range(25, 401, 25), Power(), walk)


@pytest.mark.parametrize("std", [0.06, 0.08, 0.13, 0.2])
def test_an_average_of_any_length_is_made_of_two_that_were_tracked(std, walk, kept):
    tracked = averaged(Power((std,)), walk)[-1]
    found = made_of(Power(length=std), kept)
    assert np.linalg.norm(found - tracked) < 1e-3 * np.linalg.norm(tracked)


def test_one_that_was_tracked_is_read_as_it_is(kept):
    for place, std in enumerate(Power().tracked):
        np.testing.assert_array_equal(made_of(Power(length=std), kept), kept[400][place])
    np.testing.assert_array_equal(made_of(Power(), kept), kept[400][0])
    np.testing.assert_array_equal(Power().read(kept[400]), kept[400][0])


@pytest.mark.parametrize("std", [0.03, 0.07, 0.25])
def test_shares_of_a_mixture_have_the_sum_one(std):
    kept = [Profile(s, n) for n in (100, 150, 200) for s in (0.05, 0.1)]
    found = mixture(kept, Profile(std, 200))
    assert found.shares.sum() == pytest.approx(1.0, abs=1e-9)
    t = (np.arange(20_000) + 0.5) / 100

    def profile(p):
        g = exponent(p.std)
        return np.where(t < p.step, (g + 1) * (t / p.step) ** g / p.step, 0)

    missed = sum(w * profile(p) for w, p in zip(found.shares, kept, strict=True))
    wanted = profile(Profile(std, 200))
    error = np.sqrt(((missed - wanted) ** 2).sum() / (wanted**2).sum())
    assert found.error == pytest.approx(error, rel=0.01, abs=1e-4)


def test_what_cannot_be_made_of_what_was_kept_is_refused():
    with pytest.raises(
        ValueError, match=r"0\.28 cannot be made of lengths .* at 1 checkpoints: \d+ %"
    ):
        Power(length=0.28).shares([400])
    for wrong in ({"tracked": ()}, {"tracked": (0.1, 0.1)}, {"length": 0.5}, {"tracked": (-0.1,)}):
        with pytest.raises(ValueError, match="tracked|lengths"):
            Power(**wrong)
    for wrong in ({"images": 0.0}, {"ramp_up": -1.0}):
        with pytest.raises(ValueError, match="more than 0"):
            HalfLife(**wrong)
