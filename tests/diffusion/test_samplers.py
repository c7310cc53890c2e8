"""Laws of the samplers, on denoisers known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.diffusion.analytic import gaussian, gaussian_flow
from ddm_jax.diffusion.core import Estimate, fold_in, normal_like
from ddm_jax.diffusion.samplers import DDIM, DDPM, SAMPLERS, clip_x0, integrate, prior, sample
from ddm_jax.diffusion.schedules import SCHEDULES, Cosine, Linear, OffsetCosine
from ddm_jax.diffusion.times import GRIDS, UniformGrid

MEAN, STD = 0.4, 0.5
KEY = jax.random.key(7)
every_sampler = pytest.mark.parametrize("sampler", [c() for c in SAMPLERS.values()], ids=SAMPLERS)
every_schedule = pytest.mark.parametrize(
    "schedule", [c() for c in SCHEDULES.values()], ids=SCHEDULES
)


def start(schedule, count=20_000):
    """Draws of the true marginal at t = 1."""
    one = jnp.float32(1.0)
    deviation = jnp.sqrt(schedule.alpha(one) ** 2 * STD**2 + schedule.sigma(one) ** 2)
    z = jax.random.normal(jax.random.key(0), (count, 1))
    return schedule.alpha(one) * MEAN + deviation * z


@pytest.mark.parametrize("schedule", [Linear(), OffsetCosine()])
def test_ddim_converges_with_order_one_to_the_probability_flow(schedule):
    x = jnp.linspace(-2, 2, 9)[:, None]
    exact = gaussian_flow(schedule, MEAN, STD, x, jnp.float32(1.0), jnp.float32(0.0))
    errors = []
    for steps in (21, 41, 81):
        times = UniformGrid().times(schedule, steps)
        got = integrate(gaussian(schedule, MEAN, STD), schedule, DDIM(), times, x, KEY)
        errors.append(float(abs(got - exact).max()))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders == pytest.approx([1, 1], abs=0.2)


@pytest.mark.parametrize("sampler", [DDPM("small"), DDPM("large"), DDIM(0.5), DDIM(1.0)], ids=repr)
def test_stochastic_samplers_reach_the_data_distribution(sampler):
    """Mean and deviation of the last noisy level are those of q(x_0) diffused to it."""
    schedule = Linear()
    times = UniformGrid().times(schedule, 1000)
    denoise = gaussian(schedule, MEAN, STD)
    x = integrate(denoise, schedule, sampler, times, start(schedule), KEY)
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.015)
    assert float(x.std()) == pytest.approx(STD, rel=0.03)


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("steps", [1000, 100])
def test_ddpm_is_the_published_algorithm(variance, steps):
    """Algorithm 2 of Ho et al. in betas and float64, on every level or on every tenth of them.

    mean = (x - beta / sqrt(1 - abar) eps) / sqrt(1 - beta), with beta = 1 - abar_t / abar_s for a
    strided chain; variance beta, or beta (1 - abar_s) / (1 - abar_t).
    """
    schedule = Linear(steps=1000)
    index = np.linspace(999, 0, steps).round().astype(int)
    abar = np.cumprod(1 - schedule.betas())[index]
    rng = np.random.default_rng(0)

    def eps_of(x):
        return np.tanh(x) + 0.1

    def denoise(x, t):  # the x_0 that belongs to eps_of
        eps = jnp.tanh(x) + 0.1
        return Estimate((x - schedule.sigma(t) * eps) / schedule.alpha(t))

    for k in (0, steps // 2, steps - 2):
        x = rng.normal(size=(5, 2))
        key = jax.random.fold_in(KEY, k)
        z = np.asarray(normal_like(key, jnp.asarray(x)), np.float64)
        beta = 1 - abar[k] / abar[k + 1]
        mean = (x - beta / np.sqrt(1 - abar[k]) * eps_of(x)) / np.sqrt(1 - beta)
        spread = beta * ((1 - abar[k + 1]) / (1 - abar[k]) if variance == "small" else 1)
        t, s = (jnp.float32(index[j] / 999) for j in (k, k + 1))
        got, _ = DDPM(variance).step(denoise, schedule, jnp.float32(x), t, s, key, ())
        np.testing.assert_allclose(got, mean + np.sqrt(spread) * z, rtol=2e-3, atol=2e-3)


@every_schedule
def test_ddim_with_eta_one_is_ddpm_with_the_small_variance(schedule):
    denoise = gaussian(schedule, MEAN, STD)
    x = jax.random.normal(KEY, (6, 4))
    times = jnp.asarray(UniformGrid().times(schedule, 12))
    for t, s in zip(times[:-1], times[1:], strict=True):
        a, _ = DDIM(eta=1.0).step(denoise, schedule, x, t, s, KEY, ())
        b, _ = DDPM("small").step(denoise, schedule, x, t, s, KEY, ())
        np.testing.assert_allclose(a, b, atol=2e-5)
        x = a


def test_ddim_clips_x0_and_derives_eps_from_the_clipped_one():
    schedule = Cosine()
    t, s = jnp.float32(0.8), jnp.float32(0.5)
    x = jnp.array([[3.0, -2.0]])
    raw = lambda x, t: Estimate(jnp.full_like(x, 5.0))  # noqa: E731
    got, _ = DDIM().step(clip_x0(raw, -1.0, 1.0), schedule, x, t, s, KEY, ())
    eps = (x - schedule.alpha(t) * 1.0) / schedule.sigma(t)
    np.testing.assert_allclose(got, schedule.alpha(s) * 1.0 + schedule.sigma(s) * eps, rtol=1e-5)


@every_sampler
@every_schedule
def test_one_step_is_one_call_of_the_denoiser(sampler, schedule):
    denoise = gaussian(schedule, MEAN, STD)
    x = prior(schedule, KEY, jnp.zeros((4, 2)))
    got = sample(denoise, schedule, sampler, UniformGrid().times(schedule, 1), x, KEY)
    np.testing.assert_array_equal(got, denoise(x, jnp.float32(1.0)).x0)


@every_sampler
@pytest.mark.parametrize("grid", [c() for c in GRIDS.values()], ids=GRIDS)
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50])
def test_n_steps_visit_the_n_times_of_the_grid_once_each(sampler, grid, steps):
    schedule, seen = Linear(), []

    def denoise(x, t):
        jax.debug.callback(lambda t: seen.append(float(t)), t, ordered=True)
        return Estimate(jnp.zeros_like(x))

    times = grid.times(schedule, steps)
    jax.block_until_ready(sample(denoise, schedule, sampler, times, jnp.ones((1, 1)), KEY))
    jax.effects_barrier()
    np.testing.assert_allclose(seen, times, atol=1e-7)
    assert times[0] == 1 and len(times) == steps and (np.diff(times) < 0).all()
    assert times[-1] >= 0


def test_every_step_count_has_a_strictly_decreasing_grid():
    for cls in GRIDS.values():
        for steps in range(1, 51):
            times = cls().times(Linear(), steps)
            assert len(times) == steps and times[0] == 1 and (np.diff(times) < 0).all()
        with pytest.raises(ValueError, match="at least 1"):
            cls().times(Linear(), 0)


@every_sampler
def test_an_example_depends_on_its_own_key_alone(sampler):
    schedule = Linear()
    denoise = gaussian(schedule, MEAN, STD)
    times = UniformGrid().times(schedule, 10)
    keys = fold_in(KEY, jnp.arange(8))

    def run(keys):
        x = prior(schedule, fold_in(keys, 0), jnp.zeros((len(keys), 3)))
        return sample(denoise, schedule, sampler, times, x, fold_in(keys, 1))

    np.testing.assert_allclose(run(keys)[5:], run(keys[5:]), atol=1e-6)


def test_refusals():
    with pytest.raises(ValueError, match="'small' or 'large'"):
        DDPM("medium")
    with pytest.raises(ValueError, match=r"eta lies in \[0, 1\]"):
        DDIM(eta=2.0)
