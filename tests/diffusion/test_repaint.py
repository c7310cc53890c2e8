"""Laws of RePaint: its grid, its steps down and up, and what it asks for."""

import collections
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import KEY, ROWS, ideal

from ddm_jax.diffusion.arrays import fold_in
from ddm_jax.diffusion.editing.repaint import Repaint, pinned, repaint_times
from ddm_jax.diffusion.samplers.exponential import DPMpp2M, UniPC
from ddm_jax.diffusion.samplers.few_step import Consistency
from ddm_jax.diffusion.samplers.loop import prior, sample
from ddm_jax.diffusion.samplers.one_step import DDPM, Heun
from ddm_jax.diffusion.samplers.timesteps import UniformGrid
from ddm_jax.diffusion.schedules.discrete import Cosine
from ddm_jax.diffusion.schedules.rates import VE, Flow

pytestmark = pytest.mark.usefixtures("quick_compilation")

WALKS = [(1, 3, 2), (2, 1, 1), (7, 1, 3), (7, 4, 1), (7, 2, 3), (8, 3, 3), (6, 2, 50)]
FIRST = jnp.array([True, False])


@pytest.mark.parametrize(("steps", "rounds", "jump"), WALKS)
def test_a_walk_takes_every_step_down_as_often_as_it_has_rounds(steps, rounds, jump):
    times = UniformGrid().times(Cosine(), steps)
    walk = repaint_times(times, rounds, jump)
    assert walk.dtype == np.float32 and len(walk) == 1 + (steps - 1) * (2 * rounds - 1)
    assert walk[0] == times[0] and walk[-1] == times[-1]
    taken = collections.Counter(itertools.pairwise(walk.tolist()))
    down = list(itertools.pairwise(times.tolist()))
    up = {(s, t): rounds - 1 for t, s in down if rounds > 1}
    assert taken == {step: rounds for step in down} | up


def test_a_walk_of_one_round_is_the_grid():
    times = UniformGrid().times(Cosine(), 9)
    np.testing.assert_array_equal(repaint_times(times, 1, 3), times)


def test_a_walk_turns_after_a_stretch_and_takes_times_of_each_examples_own():
    walk = repaint_times(np.array([[0.9, 1.0], [0.8, 0.5], [0.2, 0.1], [0.1, 0.0]]), 2, 2)
    expected = [0.9, 0.8, 0.2, 0.8, 0.9, 0.8, 0.2, 0.1, 0.2, 0.1]
    np.testing.assert_array_equal(walk[:, 0], np.float32(expected))
    assert walk.shape == (10, 2)


@pytest.mark.parametrize(("rounds", "jump"), [(0, 1), (1, 0)])
def test_a_walk_of_no_rounds_or_no_steps_is_refused(rounds, jump):
    with pytest.raises(ValueError, match="rounds >= 1 and jump >= 1"):
        repaint_times(np.ones(3), rounds, jump)


# The others are one of each family: of one call and of two, with memory, noise, or own steps.
WIDER = ("ddim", "consistency", "euler", "euler_ancestral", "euler_maruyama", "midpoint")
WIDER += ("adams_bashforth", "pndm", "deis", "dpmpp_3m", "adaptive")


@pytest.mark.parametrize(
    "sampler",
    [
        pytest.param(row, id=name, marks=[pytest.mark.slow] * (name in WIDER))
        for name, row in ROWS.items()
    ],
)
def test_known_elements_are_exact_and_an_example_depends_on_its_own_key_alone(sampler):
    """Around every row of the table, on a walk with times of each example's own."""
    schedule, known = Cosine(), jnp.linspace(-1, 1, 24).reshape(8, 3)
    mask, denoise = jnp.array([True, False, True]), ideal(sampler, schedule)
    grid = UniformGrid().times(schedule, 4)[:, None] * np.linspace(1, 0.8, 8, dtype=np.float32)
    times = repaint_times(grid, 2, 2)

    @jax.jit
    def run(keys, known):
        x = prior(schedule, fold_in(keys, 0), known)
        held = Repaint(sampler, known, mask)
        x0 = sample(denoise, schedule, held, times, x=x, key=fold_in(keys, 1))
        return pinned(x0, known, mask)

    keys = fold_in(KEY, jnp.arange(8))
    elsewhere = keys.at[:5].set(fold_in(KEY, jnp.arange(20, 25)))
    got = run(keys, known)
    assert jnp.isfinite(got).all()
    np.testing.assert_array_equal(got[:, mask], known[:, mask])
    np.testing.assert_allclose(run(elsewhere, known.at[:5].add(1))[5:], got[5:], atol=1e-6)


@pytest.mark.parametrize("sampler", [Heun(churn=0.3), DPMpp2M(1.0), UniPC()], ids=repr)
def test_times_of_each_examples_own_give_what_each_would_give_alone(sampler):
    """After a step down: on and down, at rest, and up, together and one by one."""
    schedule, known = Cosine(), jnp.ones((3, 2))
    denoise, x, keys = ideal(sampler, schedule), 0.5 * known, fold_in(KEY, jnp.arange(3))
    q, t, s = jnp.float32(0.9), jnp.float32([0.5, 0.6, 0.7]), jnp.float32([0.2, 0.6, 0.8])

    @jax.jit
    def two(t, s, x, keys):
        held = Repaint(sampler, jnp.ones_like(x), FIRST)
        above = jnp.broadcast_to(q, t.shape)
        x, memory = held.step(denoise, schedule, x, t=above, s=t, key=keys, memory=held.init(x))
        return held.step(denoise, schedule, x, t=t, s=s, key=keys, memory=memory)

    together, remembered = two(t, s, x, keys)
    assert jnp.isfinite(together).all()
    for i in range(3):
        alone, memory = two(t[i], s[i], x[i : i + 1], keys[i : i + 1])
        np.testing.assert_allclose(together[i], alone[0], atol=1e-5)
        for ours, own in zip(jax.tree.leaves(remembered), jax.tree.leaves(memory), strict=True):
            one = jnp.broadcast_to(ours, (3, *ours.shape[1:]))[i]
            np.testing.assert_allclose(one, jnp.ravel(own).reshape(one.shape), atol=1e-5)


@pytest.mark.parametrize("sampler", [DPMpp2M(1.0), UniPC()], ids=repr)
def test_nothing_is_remembered_after_a_step_up(sampler):
    schedule, x = Cosine(), jnp.ones((4, 2))
    held = Repaint(sampler, x, FIRST)
    t, s, r = (jnp.float32(u) for u in (0.8, 0.5, 0.3))
    first = held.init(x)
    x, memory = held.step(ideal(sampler, schedule), schedule, x, t=t, s=s, key=KEY, memory=first)
    x, after = held.step(ideal(sampler, schedule), schedule, x, t=s, s=r, key=KEY, memory=memory)
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (first, after)), strict=True))
    _, anew = held.step(ideal(sampler, schedule), schedule, x, t=r, s=t, key=KEY, memory=after)
    jax.tree.map(np.testing.assert_array_equal, anew, first)


@pytest.mark.parametrize("schedule", [Cosine(), VE(), Flow()], ids=lambda s: type(s).__name__)
def test_both_ways_land_on_the_marginals_of_what_is_known(schedule):
    """q(x_u | x_0) at every time, by the step down where known, by the step up everywhere."""
    known = jnp.full((50_000, 2), 0.7)
    held, denoise = Repaint(DDPM(), known, FIRST), ideal(DDPM(), schedule)
    t, s = jnp.float32(0.8), jnp.float32(0.4)

    @jax.jit
    def both(key):
        down, _ = held.step(denoise, schedule, known, t=t, s=s, key=fold_in(key, 0), memory=())
        start = jnp.broadcast_to(down[:, :1], known.shape)
        return (
            down,
            start,
            held.step(denoise, schedule, start, t=s, s=t, key=fold_in(key, 1), memory=())[0],
        )

    down, start, up = both(KEY)
    for x, u in ((down[:, :1], s), (up, t)):
        alpha, sigma = schedule.alpha(u), schedule.sigma(u)
        np.testing.assert_allclose(x.mean(0), alpha * 0.7, atol=0.02 * sigma)
        np.testing.assert_allclose(x.std(0), sigma, rtol=0.015)
    assert abs(np.corrcoef(up[:, 0] - up[:, 1], start[:, 0])[0, 1]) < 0.02


@pytest.mark.parametrize("sampler", [DDPM(), Heun(), DPMpp2M()], ids=repr)
def test_with_nothing_known_a_step_down_is_the_inner_samplers(sampler):
    schedule, x = Cosine(), jax.random.normal(KEY, (4, 2))
    t, s, denoise = jnp.float32(0.8), jnp.float32(0.5), ideal(sampler, schedule)
    held = Repaint(sampler, x, jnp.array([False, False]))
    got, memory = held.step(denoise, schedule, x, t=t, s=s, key=KEY, memory=held.init(x))
    own, remembered = sampler.step(
        denoise, schedule, x, t=t, s=s, key=fold_in(KEY, 0), memory=sampler.init(x)
    )
    np.testing.assert_allclose(got, own, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), memory, remembered)


def test_what_is_known_has_noise_of_its_own():
    """Independent of what the inner sampler draws in the same step."""
    schedule, x = Cosine(), jnp.ones((50_000, 1))
    t, s, denoise = jnp.float32(0.8), jnp.float32(0.5), ideal(DDPM(), schedule)

    @jax.jit
    def drawn(mask):
        return Repaint(DDPM(), x, mask).step(denoise, schedule, x, t=t, s=s, key=KEY, memory=())[0][
            :, 0
        ]

    held, free = (drawn(jnp.array([known])) for known in (True, False))
    assert abs(np.corrcoef(held, free)[0, 1]) < 0.02


def test_it_asks_of_the_denoiser_what_its_sampler_asks():
    x = jnp.zeros((1, 2))
    for sampler in (DDPM(), DDPM("learned"), Consistency()):
        held = Repaint(sampler, x, FIRST)
        assert held.estimate == sampler.estimate
        assert held.asks_variance == sampler.asks_variance
        assert held.convergence is None and held.evaluations is None
