"""Laws of the random samplers: the distribution that they reach, and identities between them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import KEY, MEAN, RANDOM, ROWS, STD, convergence, ideal, start

from ddm_jax.diffusion.analytic import gaussian, mixture
from ddm_jax.diffusion.arrays import normal_like
from ddm_jax.diffusion.process import Estimate
from ddm_jax.diffusion.samplers.exponential import DPMpp2M, DPMpp3M
from ddm_jax.diffusion.samplers.few_step import Consistency
from ddm_jax.diffusion.samplers.langevin import PredictorCorrector
from ddm_jax.diffusion.samplers.loop import integrate, sample
from ddm_jax.diffusion.samplers.one_step import DDIM, DDPM, EulerAncestral, Heun
from ddm_jax.diffusion.samplers.timesteps import LogSNRGrid, UniformGrid
from ddm_jax.diffusion.schedules import SCHEDULES
from ddm_jax.diffusion.schedules.continuous import VP
from ddm_jax.diffusion.schedules.discrete import Linear
from ddm_jax.diffusion.schedules.rates import VE

OTHERS = [
    DDPM("large"),
    DDIM(0.5),
    DDIM(1.0),
    EulerAncestral(0.5),
    Heun(churn=0.3),
    DPMpp2M(1.0),
    DPMpp3M(1.0),
    PredictorCorrector(corrector_steps=2, predictor="ancestral"),
]


CASES = [(s, VP()) for s in (*RANDOM, *OTHERS)]
CASES += [
    pytest.param(s, schedule, marks=pytest.mark.slow)
    for s in RANDOM
    for schedule in (Linear(), VE())
]


@pytest.mark.parametrize(("sampler", "schedule"), CASES, ids=repr)
def test_random_samplers_reach_the_data_distribution(sampler, schedule):
    """Mean and deviation of the least noisy level are those of the data."""
    assert convergence(sampler) is None
    times, denoise = LogSNRGrid().times(schedule, 500), ideal(sampler, schedule)
    x = integrate(denoise, schedule, sampler, times, x=start(schedule), key=KEY)
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.015)
    assert float(x.std()) == pytest.approx(STD, rel=0.03)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_consistency_sampling_is_exact_with_any_number_of_steps(steps):
    schedule = VE()
    denoise, times = ideal(Consistency(), schedule), UniformGrid().times(schedule, steps)
    x = sample(denoise, schedule, Consistency(), times, x=start(schedule), key=KEY)
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.015)
    assert float(x.std()) == pytest.approx(STD, rel=0.02)


MEANS, WEIGHTS = jnp.array([[-2.0, 0.5], [1.0, 1.0]]), jnp.array([0.3, 0.7])
FOR_MEANS = [n for n, s in ROWS.items() if getattr(s, "estimate", "mean") == "mean"]


@pytest.mark.slow
@pytest.mark.parametrize("name", FOR_MEANS)
def test_samplers_reproduce_the_weights_of_a_mixture(name):
    """In two dimensions, where a consistency function has no closed form."""
    schedule, adaptive = VP(), convergence(ROWS[name]) == np.inf
    noise = jax.random.normal(jax.random.key(1), (10_000, 2))
    denoise = mixture(schedule, MEANS, 0.3, WEIGHTS)
    times = LogSNRGrid().times(schedule, 2 if adaptive else 200)
    x = sample(denoise, schedule, ROWS[name], times, x=noise, key=jax.random.key(2))
    left = np.asarray(x[:, 0] < -0.5)
    assert left.mean() == pytest.approx(0.3, abs=0.015)
    np.testing.assert_allclose(x[left].mean(0), MEANS[0], atol=0.04)
    np.testing.assert_allclose(x[~left].mean(0), MEANS[1], atol=0.04)


def test_a_learned_variance_lies_between_the_small_and_the_large_one():
    """Mix 0 is the small, 1 the large one, 1/2 their geometric mean."""
    schedule, t, s = Linear(), jnp.float32(0.6), jnp.float32(0.5)
    denoise, x = gaussian(schedule, MEAN, STD), jax.random.normal(KEY, (6, 4))

    def step(variance, mix=None):
        def mixed(x, t, s=None):
            mixes = None if mix is None else jnp.full_like(x, mix)
            return denoise(x, t)._replace(variance_mix=mixes)

        return DDPM(variance).step(mixed, schedule, x, t=t, s=s, key=KEY, memory=())[0]

    np.testing.assert_allclose(step("learned", 0.0), step("small"), atol=1e-6)
    np.testing.assert_allclose(step("learned", 1.0), step("large"), atol=1e-6)
    half, small, large = step("learned", 0.5), step("small"), step("large")
    z = normal_like(KEY, x)
    ratio = (schedule.sigma(t) / schedule.sigma(s)) ** 0.5  # deviations: small * ratio * ratio
    spread = (large - small) / z / (ratio**2 - 1)
    np.testing.assert_allclose((half - small) / z, spread * (ratio - 1), rtol=2e-3)
    with pytest.raises(ValueError, match="needs a network that predicts it"):
        step("learned")


@pytest.mark.parametrize("sampler", [DPMpp2M(1.0), DPMpp3M(1.0)], ids=repr)
def test_sde_solvers_start_as_ancestral_sampling(sampler):
    schedule = Linear()
    denoise, x = gaussian(schedule, MEAN, STD), jax.random.normal(KEY, (6, 4))
    t, s = jnp.float32(0.9), jnp.float32(0.7)
    a, _ = sampler.step(denoise, schedule, x, t=t, s=s, key=KEY, memory=sampler.init(x))
    b, _ = DDPM().step(denoise, schedule, x, t=t, s=s, key=KEY, memory=())
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("steps", [1000, 100])
def test_ddpm_is_the_published_algorithm(variance, steps):
    """Algorithm 2 of Ho et al. in betas and float64, on every level or on every tenth of them.

    mean = (x - beta / sqrt(1 - abar) eps) / sqrt(1 - beta), with beta = 1 - abar_t / abar_s for a
    strided chain; variance beta, or beta (1 - abar_s) / (1 - abar_t).
    """
    schedule = Linear(num_timesteps=1000)
    index = np.linspace(999, 0, steps).round().astype(int)
    abar = np.cumprod(1 - schedule.betas())[index]
    rng = np.random.default_rng(0)

    def eps_of(x):
        return np.tanh(x) + 0.1

    def denoise(x, t, s=None):  # the x_0 that belongs to eps_of
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
        got, _ = DDPM(variance).step(
            denoise, schedule, jnp.float32(x), t=t, s=s, key=key, memory=()
        )
        np.testing.assert_allclose(got, mean + np.sqrt(spread) * z, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("schedule", [c() for c in SCHEDULES.values()], ids=SCHEDULES)
def test_ddim_with_eta_one_is_ddpm_with_the_small_variance(schedule):
    denoise = gaussian(schedule, MEAN, STD)
    x = jax.random.normal(KEY, (6, 4))
    times = jnp.asarray(UniformGrid().times(schedule, 12))
    for t, s in zip(times[:-1], times[1:], strict=True):
        a, _ = DDIM(eta=1.0).step(denoise, schedule, x, t=t, s=s, key=KEY, memory=())
        b, _ = DDPM("small").step(denoise, schedule, x, t=t, s=s, key=KEY, memory=())
        np.testing.assert_allclose(a, b, atol=2e-5)
        x = a
