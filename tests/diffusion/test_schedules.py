"""Laws of every row of SCHEDULES, and the published figures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.diffusion.core import forward_kernel
from ddm_jax.diffusion.schedules import SCHEDULES, Cosine, Linear, OffsetCosine

T = jnp.linspace(0.0, 1.0, 401)
every = pytest.mark.parametrize("schedule", [cls() for cls in SCHEDULES.values()], ids=SCHEDULES)


@every
def test_rates_are_positive_finite_and_variance_preserving(schedule):
    alpha, sigma = schedule.alpha(T), schedule.sigma(T)
    assert (alpha > 0).all() and (sigma > 0).all()
    np.testing.assert_allclose(alpha**2 + sigma**2, 1, atol=1e-6)


@every
def test_logsnr_is_that_of_the_rates_and_strictly_decreasing(schedule):
    logsnr = schedule.logsnr(T)
    expected = 2 * jnp.log(schedule.alpha(T) / schedule.sigma(T))
    np.testing.assert_allclose(logsnr, expected, rtol=1e-5, atol=1e-4)
    assert (jnp.diff(logsnr) < 0).all()


@every
def test_time_inverts_logsnr(schedule):
    np.testing.assert_allclose(schedule.time(schedule.logsnr(T)), T, atol=1e-5)


@every
def test_schedules_jit_vmap_and_differentiate(schedule):
    assert hash(schedule) == hash(type(schedule)())
    slope = jax.jit(jax.vmap(jax.grad(schedule.logsnr)))(T[1:-1])
    assert (slope < 0).all() and jnp.isfinite(slope).all()
    np.testing.assert_array_equal(jax.vmap(schedule.alpha)(T), schedule.alpha(T))


def abar(schedule, t):
    return float(schedule.alpha(jnp.float32(t))) ** 2


@pytest.mark.parametrize(
    "schedule, expected",
    [
        (Linear(), 4.036e-5),
        (Linear(steps=300), 0.0481),
        (Linear(steps=200), 0.1322),
        (Cosine(), 2.43e-9),
        (OffsetCosine(), 0.0004),
    ],
)
def test_signal_left_at_the_noisiest_level(schedule, expected):
    assert abar(schedule, 1.0) == pytest.approx(expected, rel=4e-3)


def test_least_noisy_levels():
    assert abar(Linear(), 0.0) == pytest.approx(1 - 1e-4, abs=1e-7)
    assert abar(OffsetCosine(), 0.0) == pytest.approx(0.9025, abs=1e-5)
    assert float(OffsetCosine().sigma(jnp.float32(0.0))) == pytest.approx(0.312, abs=3e-4)


def test_scaled_betas_keep_the_noise_of_the_long_chain():
    short = abar(Linear(steps=200, scaled=True), 1.0)
    assert np.log(short) == pytest.approx(np.log(4.036e-5), rel=0.03)


@pytest.mark.parametrize("schedule", [Linear(), Linear(steps=50), Cosine(steps=100)])
def test_levels_are_the_product_of_one_step_kernels(schedule):
    """The chain of T one-step kernels has the closed form's mean and variance, and its betas."""
    betas = schedule.betas()
    mean, variance = 1.0, 0.0
    for beta in betas:
        mean, variance = np.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
    assert abar(schedule, 1.0) == pytest.approx(mean**2, rel=1e-4)
    assert float(schedule.sigma(jnp.float32(1.0))) ** 2 == pytest.approx(variance, rel=1e-6)

    t = jnp.arange(schedule.steps) / (schedule.steps - 1)
    kernel = forward_kernel(schedule, t[:-1], t[1:])
    # A difference of float32 log-SNRs of size 10 or so carries an error of some 1e-6.
    np.testing.assert_allclose(kernel.variance, betas[1:], rtol=2e-2, atol=2e-6)
    np.testing.assert_allclose(kernel.of_x, np.sqrt(1 - betas[1:]), rtol=1e-4)


def test_refusals_name_the_reason():
    with pytest.raises(ValueError, match="at least 2"):
        Linear(steps=1)
    with pytest.raises(ValueError, match="betas run from"):
        Linear(steps=10, scaled=True)
    with pytest.raises(ValueError, match="max_beta"):
        Cosine(max_beta=1.0)
    with pytest.raises(ValueError, match="min_signal < max_signal"):
        OffsetCosine(min_signal=0.96)
