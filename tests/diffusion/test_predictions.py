"""Laws of every row of PREDICTIONS."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.diffusion.conditions import Context
from ddm_jax.diffusion.noise_conds import NOISE_CONDS, Timestep
from ddm_jax.diffusion.predictions import PREDICTIONS, Parameterisation, denoiser, split, target
from ddm_jax.diffusion.process import diffuse, noise_of
from ddm_jax.diffusion.schedules.continuous import VP
from ddm_jax.diffusion.schedules.discrete import Cosine, Linear

pytestmark = pytest.mark.usefixtures("quick_compilation")

SCHEDULE = Linear()
t = jnp.linspace(0, 1, 64)
x0 = jax.random.normal(jax.random.key(0), (64, 3, 3, 1))
eps = jax.random.normal(jax.random.key(1), x0.shape)
alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
wide = (slice(None), None, None, None)


@pytest.mark.parametrize("name", PREDICTIONS)
def test_a_net_that_outputs_the_target_denoises_exactly(name):
    prediction = PREDICTIONS[name]()
    goal = target(prediction, alpha, sigma, x0=x0, eps=eps)

    def net(params, x, noise_cond, cond, keys):
        return goal

    denoise = denoiser(net, None, Parameterisation(SCHEDULE, prediction, Timestep()))
    estimate = denoise(diffuse(SCHEDULE, x0, eps, t), t).x0
    # eps and score are divided by alpha, which is 0.006 at the noisy end.
    _, out, _ = prediction.coefficients(alpha, sigma)
    np.testing.assert_allclose(estimate, x0, atol=2e-5 + 1e-6 * float(abs(out).max()))


@pytest.mark.parametrize("name", PREDICTIONS)
def test_the_error_of_x0_is_c_out_times_that_of_the_output(name):
    prediction = PREDICTIONS[name]()
    skip, out, _ = (c[wide] for c in prediction.coefficients(alpha, sigma))
    f = jnp.sin(3 * x0 + eps)
    error = skip * diffuse(SCHEDULE, x0, eps, t) + out * f - x0
    away = out * (f - target(prediction, alpha, sigma, x0=x0, eps=eps))
    np.testing.assert_allclose(error, away, atol=2e-5 + 1e-6 * float(abs(out).max()))


def test_twice_the_channels_hold_the_variance_mix():
    raw = jnp.concatenate([x0, jnp.full_like(x0, -1.0)], -1)
    form = Parameterisation(SCHEDULE, PREDICTIONS["x0"](), Timestep())
    denoise = denoiser(lambda *a, keys: raw, None, form)
    estimate = denoise(eps, t)
    np.testing.assert_array_equal(estimate.x0, x0)
    np.testing.assert_array_equal(estimate.variance_mix, 0.0)
    np.testing.assert_array_equal(split(raw + 2, x0)[1], 1.0)
    assert split(x0, x0)[1] is None


def test_targets_are_the_published_ones():
    power = sigma**2 + 0.25 * alpha**2
    published = {
        "eps": eps,
        "x0": x0,
        "v": alpha[wide] * eps - sigma[wide] * x0,
        "score": -eps / sigma[wide],
        "velocity": eps - x0,
        "edm": (2 * sigma / jnp.sqrt(power))[wide] * x0
        - (0.5 * alpha / jnp.sqrt(power))[wide] * eps,
    }
    for name, expected in published.items():
        goal = target(PREDICTIONS[name](), alpha, sigma, x0=x0, eps=eps)
        np.testing.assert_allclose(goal, expected, rtol=1e-4, atol=3e-5, err_msg=name)


def test_edm_has_unit_input_and_target_and_loss_weight_one_over_c_out_squared():
    """For data of deviation 0.5: Var(c_in x_t) = Var(F) = 1 at every level."""
    skip, out, c_in = PREDICTIONS["edm"](0.5).coefficients(alpha, sigma)
    variance = alpha**2 * 0.25 + sigma**2
    np.testing.assert_allclose(c_in**2 * variance, 1, rtol=1e-5)
    of_x0, of_eps = (1 - skip * alpha) / out, skip * sigma / out
    np.testing.assert_allclose(of_x0**2 * 0.25 + of_eps**2, 1, rtol=1e-3)


def test_loss_spaces_differ_by_powers_of_the_snr():
    """eps-MSE = SNR x0-MSE and v-MSE = (SNR + 1) x0-MSE for the same estimate of x_0."""
    x_t, guess = diffuse(SCHEDULE, x0, eps, t), x0 + 0.3 * jnp.roll(eps, 1, 0)
    errors = {}
    for name, cls in PREDICTIONS.items():
        skip, out, _ = cls().coefficients(alpha, sigma)
        f = (guess - skip[wide] * x_t) / out[wide]
        errors[name] = ((f - target(cls(), alpha, sigma, x0=x0, eps=eps)) ** 2).mean((1, 2, 3))
    snr = (alpha / sigma) ** 2
    _, out, _ = PREDICTIONS["edm"]().coefficients(alpha, sigma)
    np.testing.assert_allclose(errors["edm"] * out**2, errors["x0"], rtol=2e-3)
    np.testing.assert_allclose(errors["eps"], snr * errors["x0"], rtol=2e-2)
    np.testing.assert_allclose(errors["v"], (snr + 1) * errors["x0"], rtol=2e-3)


def test_noise_of_inverts_diffuse():
    np.testing.assert_allclose(
        noise_of(SCHEDULE, diffuse(SCHEDULE, x0, eps, t), x0, t), eps, atol=1e-4
    )


@pytest.mark.parametrize("steps", [1000, 50, 4000])
def test_the_timestep_is_the_index_of_the_level(steps):
    """Of a discrete schedule and of a continuous one, whose count is a setting alone."""
    levels = jnp.arange(steps) / (steps - 1)
    for schedule in (Cosine(num_timesteps=steps), VP(num_timesteps=steps)):
        np.testing.assert_allclose(Timestep()(schedule, levels), np.arange(steps), atol=1e-3)


@pytest.mark.parametrize("name", NOISE_CONDS)
def test_noise_conds_are_monotone_in_time_and_scale(name):
    noise_cond = NOISE_CONDS[name]()(Linear(), t)
    assert noise_cond.shape == t.shape and jnp.isfinite(noise_cond).all()
    rising = jnp.diff(noise_cond) > 0
    assert rising.all() or not rising.any()


@pytest.mark.parametrize("name", NOISE_CONDS)
def test_a_noise_cond_is_a_matter_of_its_time_alone(name):
    whole = NOISE_CONDS[name]()(Linear(), t)
    np.testing.assert_allclose(NOISE_CONDS[name]()(Linear(), t[40:43]), whole[40:43], rtol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 0.5, 1000.0])
def test_noise_conds_have_their_published_values_times_their_scale(scale):
    """Against abar, the running product of 1 - beta, in float64."""
    abar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    published = {
        "logsnr": np.log(abar / (1 - abar)),
        "noise_variance": 1 - abar,
        "ln_sigma": np.log(np.sqrt((1 - abar) / abar)) / 4,
    }
    for name, expected in published.items():
        noise_cond = NOISE_CONDS[name](scale)(SCHEDULE, jnp.arange(1000) / 999)
        np.testing.assert_allclose(noise_cond / scale, expected, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", PREDICTIONS)
def test_the_net_is_told_the_noise_cond_of_its_time_and_the_scaled_input(name):
    seen, prediction = {}, PREDICTIONS[name]()

    def net(params, x, noise_cond, cond, keys):
        seen.update(params=params, x=x, noise_cond=noise_cond, cond=cond)
        return jnp.zeros_like(x)

    told = Context(jnp.ones((64, 2)))
    denoise = denoiser(net, "p", Parameterisation(SCHEDULE, prediction, Timestep()), told)
    half = jnp.float32(0.5)
    denoise(x0, half)
    assert seen["params"] == "p" and seen["cond"] is told
    np.testing.assert_allclose(seen["noise_cond"], np.full(64, 499.5))
    _, _, c_in = prediction.coefficients(SCHEDULE.alpha(half), SCHEDULE.sigma(half))
    np.testing.assert_allclose(seen["x"], c_in * x0, rtol=1e-6)
    assert (name == "edm") == (c_in != 1)
