"""Laws of the samplers, on denoisers known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.diffusion.analytic import gaussian, gaussian_flow
from ddm_jax.diffusion.continuous import VP, ContinuousCosine
from ddm_jax.diffusion.core import Estimate, fold_in, normal_like
from ddm_jax.diffusion.discrete import Cosine, Linear
from ddm_jax.diffusion.samplers import (
    CLIPS,
    DDIM,
    DDPM,
    SAMPLERS,
    clip_x0,
    integrate,
    invert,
    prior,
    sample,
)
from ddm_jax.diffusion.schedules import EDM, SCHEDULES, VE, Flow, OffsetCosine
from ddm_jax.diffusion.solvers import DPMpp2M, DPMpp3M, Euler, EulerAncestral, EulerMaruyama, Heun
from ddm_jax.diffusion.times import GRIDS, ExplicitGrid, KarrasGrid, LogSNRGrid, UniformGrid

MEAN, STD = 0.4, 0.5
KEY = jax.random.key(7)
every_sampler = pytest.mark.parametrize("sampler", [c() for c in SAMPLERS.values()], ids=SAMPLERS)
every_schedule = pytest.mark.parametrize(
    "schedule", [c() for c in SCHEDULES.values()], ids=SCHEDULES
)


def grid_of(name, steps):
    """A row of GRIDS, for `steps` steps."""
    if name == "explicit":
        return ExplicitGrid(tuple(np.linspace(1, 0.1, steps).tolist()))
    return GRIDS[name]()


def start(schedule, count=20_000):
    """Draws of the true marginal at t = 1."""
    one = jnp.float32(1.0)
    deviation = jnp.sqrt(schedule.alpha(one) ** 2 * STD**2 + schedule.sigma(one) ** 2)
    z = jax.random.normal(jax.random.key(0), (count, 1))
    return schedule.alpha(one) * MEAN + deviation * z


# Published orders of the deterministic samplers; every other row must stand among the random ones.
ORDERS = {
    "ddim": 1,
    "euler": 1,
    "heun": 2,
    "midpoint": 2,
    "adams_bashforth": 2,
    "dpmpp_2m": 2,
    "dpmpp_3m": 3,
}
RANDOM = {
    "ddpm": [DDPM("small"), DDPM("large")],
    "euler_ancestral": [EulerAncestral(), EulerAncestral(0.5)],
    "euler_maruyama": [EulerMaruyama()],
}
ALSO_RANDOM = [DDIM(0.5), DDIM(1.0), Heun(churn=0.3), DPMpp2M(1.0), DPMpp3M(1.0)]


def test_every_row_is_proven():
    assert ORDERS.keys() | RANDOM.keys() == SAMPLERS.keys()


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("schedule", [VP(), VE(), Flow(0.02), OffsetCosine()], ids=repr)
def test_deterministic_samplers_converge_with_their_published_order(name, schedule):
    """To the exact flow of the Gaussian, on grids even in log-SNR."""
    x = jnp.linspace(-2, 2, 9)[:, None] * schedule.sigma(jnp.float32(1.0))
    exact = gaussian_flow(schedule, MEAN, STD, x, jnp.float32(1.0), jnp.float32(0.0))
    denoise, errors = gaussian(schedule, MEAN, STD), []
    # In float32 the third order reaches rounding on fine grids.
    for steps in (21, 41, 81) if ORDERS[name] == 3 else (41, 81, 161):
        times = LogSNRGrid().times(schedule, steps)
        got = integrate(denoise, schedule, SAMPLERS[name](), times, x, KEY)
        errors.append(float(abs(got - exact).max()))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > ORDERS[name] - 0.25).all(), (errors, orders)
    if ORDERS[name] < 3:  # the third order gains another one here, where the last slope is 0
        assert (orders < ORDERS[name] + 0.4).all(), (errors, orders)


@pytest.mark.parametrize("name", ORDERS)
def test_inversion_leads_back_and_closes_in_with_more_steps(name):
    schedule = ContinuousCosine(-6.0, 6.0)
    denoise, x0 = gaussian(schedule, MEAN, STD), jnp.linspace(-0.5, 1.3, 7)[:, None]
    errors = []
    for steps in (20, 80):
        times = LogSNRGrid().times(schedule, steps)
        noise = invert(denoise, schedule, SAMPLERS[name](), times, x0, KEY)
        back = integrate(denoise, schedule, SAMPLERS[name](), times, noise, KEY)
        errors.append(float(abs(back - x0).max()))
    assert errors[1] < 0.05 and errors[1] < 0.4 * errors[0]


@pytest.mark.parametrize("sampler", [DPMpp2M(1.0), DPMpp3M(1.0)], ids=repr)
def test_sde_solvers_start_as_ancestral_sampling(sampler):
    schedule = Linear()
    denoise, x = gaussian(schedule, MEAN, STD), jax.random.normal(KEY, (6, 4))
    t, s = jnp.float32(0.9), jnp.float32(0.7)
    a, _ = sampler.step(denoise, schedule, x, t, s, KEY, sampler.init(x))
    b, _ = DDPM().step(denoise, schedule, x, t, s, KEY, ())
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_dynamic_clipping_keeps_small_estimates_and_scales_large_ones():
    estimates = jnp.stack([jnp.linspace(-0.5, 0.5, 201), jnp.linspace(-4.0, 4.0, 201)])

    def raw(x, t):
        return Estimate(estimates + 1)

    got = CLIPS["dynamic"](raw, jnp.array(0.0), jnp.array(2.0))(None, None).x0 - 1
    np.testing.assert_allclose(got[0], estimates[0], atol=1e-6)
    bound = np.percentile(abs(np.asarray(estimates[1])), 99.5)
    np.testing.assert_allclose(got[1], np.clip(estimates[1], -bound, bound) / bound, atol=1e-5)
    static = CLIPS["static"](raw, 0.0, 2.0)(None, None).x0 - 1
    np.testing.assert_allclose(static[1], np.clip(estimates[1], -1, 1), atol=1e-6)
    assert CLIPS["none"](raw, 0.0, 2.0) is raw


@pytest.mark.parametrize("schedule", [Linear(), VP(), OffsetCosine()], ids=repr)
def test_euler_in_sigma_is_ddim(schedule):
    denoise, times = gaussian(schedule, MEAN, STD), UniformGrid().times(schedule, 15)
    x = jax.random.normal(KEY, (6, 4))
    a, b = (integrate(denoise, schedule, s, times, x, KEY) for s in (Euler(), DDIM()))
    np.testing.assert_allclose(a, b, atol=2e-4)


@pytest.mark.parametrize("schedule", [Linear(), VE(), Flow()], ids=repr)
def test_euler_ancestral_is_ddim_with_eta_one(schedule):
    denoise = gaussian(schedule, MEAN, STD)
    x = jax.random.normal(KEY, (6, 4))
    t, s = jnp.float32(0.6), jnp.float32(0.5)
    a, _ = EulerAncestral().step(denoise, schedule, x, t, s, KEY, ())
    b, _ = DDIM(1.0).step(denoise, schedule, x, t, s, KEY, ())
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("schedule", [Linear(), VP()], ids=repr)
@pytest.mark.parametrize("sampler", sum(RANDOM.values(), ALSO_RANDOM), ids=repr)
def test_stochastic_samplers_reach_the_data_distribution(sampler, schedule):
    """Mean and deviation of the least noisy level are those of the data."""
    # Multistep extrapolates over the steps behind, so these must not shrink suddenly.
    multistep = isinstance(sampler, DPMpp2M | DPMpp3M)
    times = (LogSNRGrid() if multistep else UniformGrid()).times(schedule, 1000)
    denoise = gaussian(schedule, MEAN, STD)
    x = integrate(denoise, schedule, sampler, times, start(schedule), KEY)
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.015)
    assert float(x.std()) == pytest.approx(STD, rel=0.03)


def test_heun_is_the_trapezoidal_rule_of_karras_algorithm_2():
    """In sigma itself, on the EDM schedule, with the churn's noise given."""
    schedule, denoise = EDM(), gaussian(EDM(), MEAN, STD)
    t, s = jnp.float32(0.5), jnp.float32(0.4)
    a, b = float(schedule.sigma(t)), float(schedule.sigma(s))
    x = np.array([[1.0], [-2.0]])

    def d(x, sigma):
        return (x - (MEAN + STD**2 / (STD**2 + sigma**2) * (x - MEAN))) / sigma

    for churn in (0.0, 0.2):
        hat = (1 + churn) * a
        z = np.asarray(normal_like(KEY, jnp.asarray(x)))
        lifted = x + np.sqrt(hat**2 - a**2) * z
        ahead = lifted + (b - hat) * d(lifted, hat)
        expected = lifted + (b - hat) * (d(lifted, hat) + d(ahead, b)) / 2
        got, _ = Heun(churn=churn).step(denoise, schedule, jnp.float32(x), t, s, KEY, ())
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


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


LOOK_AHEAD = {"heun", "midpoint"}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("grid", GRIDS)
def test_n_steps_visit_the_n_times_of_the_grid_once_each(name, grid):
    """And samplers that look ahead evaluate once more in each of the n - 1 steps."""
    schedule, seen = Linear(), []

    def denoise(x, t):
        jax.debug.callback(lambda t: seen.append(float(t)), t, ordered=True)
        return Estimate(jnp.zeros_like(x))

    times = grid_of(grid, 7).times(schedule, 7)
    x = jnp.ones((1, 1))
    jax.block_until_ready(sample(denoise, schedule, SAMPLERS[name](), times, x, KEY))
    jax.effects_barrier()
    if name in LOOK_AHEAD:
        assert len(seen) == 13
        seen = seen[::2]
    np.testing.assert_allclose(seen, times, atol=1e-7)


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("schedule", [Linear(), Flow(), OffsetCosine()])
def test_every_step_count_has_a_strictly_decreasing_grid(name, schedule):
    for steps in range(1, 51):
        times = grid_of(name, steps).times(schedule, steps)
        assert times.shape == (steps,) and times.dtype == np.float32
        assert (np.diff(times) < 0).all() and times.min() >= 0
        assert times[0] == (1 if name != "leading" else np.float32(1 - 1 / steps))
    with pytest.raises(ValueError, match="at least 1|are listed"):
        GRIDS[name]().times(schedule, 0)


def test_grids_are_even_in_what_they_say():
    schedule = Cosine()
    logsnr = schedule.logsnr(jnp.asarray(LogSNRGrid().times(schedule, 9)))
    np.testing.assert_allclose(np.diff(logsnr), np.diff(logsnr)[0], rtol=1e-3)
    edm = EDM()
    np.testing.assert_allclose(KarrasGrid().times(edm, 9), UniformGrid().times(edm, 9), atol=1e-4)
    sigma = edm.sigma(jnp.asarray(KarrasGrid().times(edm, 3)))
    middle = ((80 ** (1 / 7) + 0.002 ** (1 / 7)) / 2) ** 7
    np.testing.assert_allclose(sigma, [80, middle, 0.002], rtol=1e-3)
    with pytest.raises(ValueError, match="decrease strictly"):
        ExplicitGrid((0.5, 1.0))


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
    with pytest.raises(ValueError, match="small, large, learned"):
        DDPM("medium")
    with pytest.raises(ValueError, match=r"eta lies in \[0, 1\]"):
        DDIM(eta=2.0)
