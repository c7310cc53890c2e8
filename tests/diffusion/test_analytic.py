"""The closed-form denoisers against integration and against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.diffusion.analytic import correlated, dataset, gaussian, mixture, uniform
from ddm_jax.diffusion.schedules.continuous import ContinuousCosine
from ddm_jax.diffusion.schedules.discrete import Linear
from ddm_jax.diffusion.schedules.rates import VE

pytestmark = pytest.mark.usefixtures("quick_compilation")

MEANS, STD, WEIGHTS = jnp.array([[-2.0, 0.5], [1.0, 1.0]]), 0.3, jnp.array([0.3, 0.7])


@pytest.mark.parametrize("schedule", [Linear(), VE()])
def test_denoisers_are_posterior_means(schedule):
    """E[x_0 | x_t] by self-normalised sums over many draws of the data."""
    rng = np.random.default_rng(0)
    pick = rng.random(200_000) < 0.3
    x0 = np.where(pick[:, None], MEANS[0], MEANS[1]) + STD * rng.normal(size=(200_000, 2))
    t = jnp.float32(0.6)
    alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
    x_t = alpha * np.array([[0.0, 1.0], [-1.0, 0.0]]) + sigma * np.array([[0.3, -0.2], [0.1, 0.5]])
    log_w = -0.5 * ((x_t[:, None] - alpha * x0) ** 2).sum(-1) / sigma**2
    w = np.exp(log_w - log_w.max(1, keepdims=True))
    expected = (w[..., None] * x0).sum(1) / w.sum(1, keepdims=True)
    got = mixture(schedule, MEANS, STD, WEIGHTS)(jnp.float32(x_t), t).x0
    np.testing.assert_allclose(got, expected, atol=0.02)


def test_a_mixture_of_one_is_the_gaussian():
    x, t = jax.random.normal(jax.random.key(0), (5, 2)), jnp.linspace(0.1, 0.9, 5)
    one = mixture(Linear(), MEANS[:1], STD, jnp.ones(1))
    np.testing.assert_allclose(
        one(x, t).x0, gaussian(Linear(), MEANS[0], STD)(x, t).x0, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("schedule", [Linear(), VE()])
def test_the_denoiser_of_a_correlated_gaussian_solves_its_equation(schedule):
    """In float64, with a covariance that has no variance at all along one direction."""
    rng = np.random.default_rng(0)
    root, mean = rng.normal(size=(3, 2)), np.array([0.5, -1.0, 0.2])
    covariance, x = root @ root.T, rng.normal(size=(4, 3))
    t = np.linspace(0.2, 0.9, 4, dtype=np.float32)
    alpha, sigma = (np.float64(rate(t)) for rate in (schedule.alpha, schedule.sigma))
    got = correlated(schedule, jnp.float32(mean), jnp.float32(covariance))(jnp.float32(x), t).x0
    for i in range(4):
        noised = alpha[i] ** 2 * covariance + sigma[i] ** 2 * np.eye(3)
        away = np.linalg.solve(noised, x[i] - alpha[i] * mean)
        np.testing.assert_allclose(got[i], mean + alpha[i] * covariance @ away, atol=1e-4)


def test_the_denoiser_of_a_data_set_is_its_weighted_mean():
    points, schedule = jnp.array([[-1.0, 0.5], [0.0, 0.0], [0.7, -0.2]]), Linear()
    x, t = jax.random.normal(jax.random.key(3), (6, 2)), jnp.linspace(0.1, 1.0, 6)
    alpha, sigma = (np.float64(rate(t))[:, None, None] for rate in (schedule.alpha, schedule.sigma))
    away = (np.float64(x)[:, None] - alpha * np.float64(points)) / sigma
    w = np.exp(-0.5 * (away**2).sum(-1))
    expected = w @ np.float64(points) / w.sum(1, keepdims=True)
    np.testing.assert_allclose(dataset(schedule, points)(x, t).x0, expected, atol=1e-5)
    nearest = dataset(schedule, points)(schedule.alpha(0.0) * points, jnp.float32(0.0)).x0
    np.testing.assert_allclose(nearest, points, atol=1e-6)


@pytest.mark.parametrize("t", [0.0, 0.05, 0.3, 0.5, 0.7, 1.0])
def test_the_denoiser_of_uniform_elements_is_their_posterior_mean(t):
    """By a sum over a fine grid in float64, inside the range and far outside."""
    schedule, t = ContinuousCosine(), jnp.float32(t)
    alpha, sigma = np.float64(schedule.alpha(t)), np.float64(schedule.sigma(t))
    x = alpha * np.array([-0.6, -0.5, 0.0, 0.5, 1.2, 1.55]) + sigma * np.array(
        [-9, 0.3, 0, 1, -1, 9]
    )
    v = np.linspace(-0.5, 1.5, 200_001)
    log_w = -0.5 * ((x[:, None] - alpha * v) / sigma) ** 2
    w = np.exp(log_w - log_w.max(1, keepdims=True))
    expected = (w * v).sum(1) / w.sum(1)
    got = uniform(schedule, -0.5, 1.5)(jnp.float32(x)[:, None], t).x0[:, 0]
    np.testing.assert_allclose(got, expected, atol=1e-4)
