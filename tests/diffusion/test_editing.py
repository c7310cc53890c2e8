"""Laws of the path that sampling takes, of walks between noises, and of starts at a level."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import KEY, ROWS, grid_of, ideal, padded

from ddm_jax.diffusion.analytic import dataset
from ddm_jax.diffusion.arrays import fold_in, normal_like
from ddm_jax.diffusion.editing.closeness import psnr
from ddm_jax.diffusion.editing.levels import from_level, strength_start, strength_times
from ddm_jax.diffusion.editing.walks import slerp
from ddm_jax.diffusion.process import diffuse
from ddm_jax.diffusion.samplers.loop import integrate, prior, sample, trajectory
from ddm_jax.diffusion.samplers.one_step import DDIM, DDPM
from ddm_jax.diffusion.samplers.timesteps import TIMESTEPS, UniformGrid
from ddm_jax.diffusion.schedules.discrete import Cosine
from ddm_jax.diffusion.schedules.rates import VE

pytestmark = pytest.mark.usefixtures("quick_compilation")

NOISE = [jax.random.normal(jax.random.key(k), (4, 32, 32, 1)) for k in (0, 1)]


@pytest.mark.parametrize("name", ["ddpm", "ddim", "heun", "dpmpp_2m", "predictor_corrector"])
def test_the_path_begins_at_x_and_ends_where_integrate_does(name):
    schedule, sampler = Cosine(), ROWS[name]
    times = UniformGrid().times(schedule, 6)
    keys = fold_in(KEY, jnp.arange(3))
    x = normal_like(keys, jnp.zeros((3, 4)))
    arguments = ideal(sampler, schedule), schedule, sampler, times
    path = trajectory(*arguments, x=x, key=keys)
    assert path.shape == (6, 3, 4)
    np.testing.assert_array_equal(path[0], x)
    np.testing.assert_allclose(path[-1], integrate(*arguments, x=x, key=keys), atol=1e-6)


def test_the_path_is_at_each_time_where_a_shorter_grid_would_end():
    schedule, sampler = Cosine(), DDPM()
    times, x = UniformGrid().times(schedule, 5), NOISE[0]
    path = trajectory(ideal(sampler, schedule), schedule, sampler, times, x=x, key=KEY)
    for k in (1, 2):
        end = integrate(ideal(sampler, schedule), schedule, sampler, times[: k + 1], x=x, key=KEY)
        np.testing.assert_allclose(path[k], end, atol=1e-6)


def test_one_time_is_a_path_of_its_start():
    schedule = Cosine()
    path = trajectory(ideal(DDIM(), schedule), schedule, DDIM(), np.ones(1), x=NOISE[0], key=KEY)
    np.testing.assert_array_equal(path, NOISE[0][None])


def test_the_ends_of_a_walk_are_exact():
    a, b = NOISE
    np.testing.assert_array_equal(slerp(a, b, 0.0), a)
    np.testing.assert_array_equal(slerp(a, b, 1.0), b)


@pytest.mark.parametrize("weight", [0.1, 0.3, 0.5, 0.8])
def test_a_walk_between_noises_keeps_their_variance_where_a_straight_line_does_not(weight):
    a, b = NOISE
    variance = np.var(slerp(a, b, weight), axis=(1, 2, 3))
    np.testing.assert_allclose(variance, 1, atol=0.1)
    expected = (1 - weight) ** 2 + weight**2
    np.testing.assert_allclose(np.var((1 - weight) * a + weight * b), expected, atol=0.05)


def test_a_walk_turns_at_an_even_rate_and_each_example_at_its_own():
    a, b = jnp.array([[2.0, 0.0]] * 5), jnp.array([[0.0, 2.0]] * 5)
    weight = np.linspace(0, 1, 5)
    angle = weight * np.pi / 2
    expected = 2 * np.stack([np.cos(angle), np.sin(angle)], 1)
    np.testing.assert_allclose(slerp(a, b, weight), expected, atol=1e-6)


@pytest.mark.parametrize(
    "end, expected",
    [
        (lambda a: a, lambda a, w: a),
        (lambda a: 3 * a, lambda a, w: (1 + 2 * w) * a),
        (lambda a: a + 1e-3 * NOISE[1], lambda a, w: a + w * 1e-3 * NOISE[1]),
        (lambda a: -a, lambda a, w: (1 - 2 * w) * a),
    ],
    ids=["equal", "parallel", "almost parallel", "opposite"],
)
def test_walks_without_a_great_circle_are_straight(end, expected):
    a = NOISE[0]
    np.testing.assert_allclose(slerp(a, end(a), 0.3), expected(a, 0.3), atol=1e-5)


def test_a_walk_to_nothing_is_finite():
    assert jnp.isfinite(slerp(NOISE[0], jnp.zeros_like(NOISE[0]), 0.3)).all()


@pytest.mark.parametrize("name", TIMESTEPS)
@pytest.mark.parametrize("t", [0.0, 0.37, 0.5, 1.0])
def test_a_grid_from_a_level_begins_there_and_goes_on_as_the_grid_does(name, t):
    times = np.asarray(grid_of(name, 9).times(Cosine(), 9))
    part = from_level(times, t)
    assert part[0] == np.float32(t) and part.dtype == np.float32
    assert (np.diff(part) < 0).all()
    np.testing.assert_array_equal(part[1:], [s for s in times if s < np.float32(t)])


@pytest.mark.parametrize("name", TIMESTEPS)
def test_full_strength_walks_the_whole_grid_and_less_a_part_of_it(name):
    """Wherever the grid begins, to the bit."""
    times = np.asarray(grid_of(name, 9).times(Cosine(), 9))
    np.testing.assert_array_equal(strength_times(times, 1.0), times)
    part = strength_times(times, 0.5)
    assert part[0] == np.float32(0.5) * times[0]
    np.testing.assert_array_equal(part, from_level(times, part[0]))


@pytest.mark.parametrize("name", ["uniform", "leading"])
@pytest.mark.parametrize("schedule", [Cosine(), VE()], ids=lambda s: type(s).__name__)
def test_full_strength_is_sampling_from_the_prior_to_the_bit(schedule, name):
    """Whatever the image is, and wherever the grid begins."""
    sampler, keys = DDPM(), fold_in(KEY, jnp.arange(3))
    denoise, times = ideal(sampler, schedule), np.asarray(TIMESTEPS[name]().times(schedule, 5))
    image = jnp.full((3, 4), 0.9)
    run = jax.jit(lambda times, x: sample(denoise, schedule, sampler, times, x=x, key=keys))
    x = strength_start(schedule, image, normal_like(keys, image), t=times[0], strength=1.0)
    started = prior(schedule, keys, image, times[0])
    np.testing.assert_array_equal(x, started)
    edited = run(strength_times(times, 1.0), x)
    np.testing.assert_array_equal(edited, run(times, started))


def test_less_strength_starts_from_the_image_diffused():
    schedule, (image, eps) = VE(), NOISE
    (t, *_) = strength_times(UniformGrid().times(schedule, 5), 0.6)
    assert t == np.float32(0.6)
    x = strength_start(schedule, image, eps, t=t, strength=0.6)
    np.testing.assert_array_equal(x, diffuse(schedule, image, eps, t))


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strengths_outside_the_unit_interval_are_refused(strength):
    with pytest.raises(ValueError, match=r"strength lies in \[0, 1\]"):
        strength_times(np.ones(1), strength)
    with pytest.raises(ValueError, match=r"strength lies in \[0, 1\]"):
        strength_start(Cosine(), *NOISE, t=0.5, strength=strength)


def test_psnr_of_known_differences():
    original = jnp.full((3, 4, 4, 1), 0.5)
    away = jnp.array([0.1, 0.05, 0.0]).reshape(3, 1, 1, 1)
    got = psnr(original + away, original)
    np.testing.assert_allclose(got[:2], [20, 20 + 20 * np.log10(2)], rtol=1e-5)
    assert np.isposinf(got[2])


def test_data_noised_a_little_are_found_again_and_noised_much_are_not():
    schedule = Cosine()
    data = (jax.random.uniform(jax.random.key(3), (20, 64)) > 0.5) * 2.0 - 1
    denoise = dataset(schedule, data)
    eps = jax.random.normal(KEY, data.shape)
    run = jax.jit(lambda times, x: sample(denoise, schedule, DDIM(), times, x=x, key=KEY))
    found = {}
    for t in (0.4, 0.98):
        times = from_level(UniformGrid().times(schedule, 21), t)
        end = run(padded(times, 22), diffuse(schedule, data, eps, t))
        found[t] = psnr((end + 1) / 2, (data + 1) / 2)
    assert found[0.4].min() > 60 and jnp.median(found[0.98]) < 10
