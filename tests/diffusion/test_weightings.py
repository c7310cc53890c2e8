"""Every weighting at settings of its own against its published form, in NumPy and float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.diffusion.losses.noised import Predicted, Problem, weighted_error
from ddm_jax.diffusion.losses.weightings import WEIGHTINGS
from ddm_jax.diffusion.predictions import EDM, PREDICTIONS
from ddm_jax.diffusion.schedules.rates import Flow, OffsetCosine

pytestmark = pytest.mark.usefixtures("quick_compilation")

T = np.linspace(0.04, 0.96, 24)


def flow():
    """alpha = 1 - u, sigma = u, u = e + t (1 - 2 e); and -d logsnr / dt."""
    u = 1e-3 + T * (1 - 2e-3)
    return 1 - u, u, 2 * (1 - 2e-3) / (u * (1 - u))


def offset_cosine():
    """alpha = cos a, sigma = sin a, a linear in t; and -d logsnr / dt."""
    first, last = np.arccos([0.95, 0.02])
    a = first + T * (last - first)
    return np.cos(a), np.sin(a), 2 * (last - first) / (np.sin(a) * np.cos(a))


SCHEDULES = {"flow": (Flow(), flow()), "offset_cosine": (OffsetCosine(), offset_cosine())}

# The factor on the squared error of eps, of signal-to-noise ratios r and decline d = -dlogsnr/dt.
ON_EPS = {
    "min_snr": lambda r, d, gamma=5.0: np.minimum(r, gamma) / r,
    "soft_min_snr": lambda r, d, gamma=4.0: gamma / (r + gamma),
    "p2": lambda r, d, gamma=1.0, k=1.0: 1 / (k + r) ** gamma,
    "edm": lambda r, d, sigma_data=0.5: 1 + 1 / (sigma_data**2 * r),
    "sigmoid": lambda r, d, bias=-1.0: 1 / (1 + r * np.exp(-bias)),
    "likelihood": lambda r, d: d / 2,
}
SETTINGS = {
    "min_snr": ({}, {"gamma": 1.0}, {"gamma": 0.3}),
    "soft_min_snr": ({}, {"gamma": 1.0}, {"gamma": 0.3}),
    "p2": ({}, {"gamma": 0.5, "k": 3.0}, {"gamma": 2.0, "k": 0.2}),
    "edm": ({}, {"sigma_data": 1.0}, {"sigma_data": 0.2}),
    "sigmoid": ({}, {"bias": 2.0}, {"bias": -3.0}),
    "likelihood": ({},),
}
CASES = [(name, values) for name, several in SETTINGS.items() for values in several]


def factor(schedule, prediction, weighting):
    """What multiplies the squared error of the network's output, (times,)."""
    away = np.array([0.5, -1.0, 2.0], np.float32)
    seen = Predicted(None, jnp.zeros((len(T), 3)), jnp.tile(away, (len(T), 1)), None)
    problem = Problem(None, prediction, None, weighting)
    loss = weighted_error(problem, schedule, jnp.asarray(T, jnp.float32), seen)
    return np.asarray(loss, np.float64) / (away**2).mean()


def share_of_x0(alpha, sigma):
    """|x0_hat - x_0|^2 over the squared error of the output, from x_0 as a function of x_t and F.

    On eps 1 / SNR, on v 1 / (SNR + 1) where alpha^2 + sigma^2 = 1.
    """
    return {
        "eps": (sigma / alpha) ** 2,
        "x0": np.ones_like(alpha),
        "v": (sigma / (alpha**2 + sigma**2)) ** 2,
    }


@pytest.mark.parametrize("name, values", CASES, ids=lambda v: v if isinstance(v, str) else repr(v))
@pytest.mark.parametrize("path", SCHEDULES)
def test_a_weighting_is_its_published_factor_on_eps_x0_and_v(path, name, values):
    schedule, (alpha, sigma, decline) = SCHEDULES[path]
    snr = (alpha / sigma) ** 2
    on_x0 = ON_EPS[name](snr, decline, **values) * snr
    for output, share in share_of_x0(alpha, sigma).items():
        got = factor(schedule, PREDICTIONS[output](), WEIGHTINGS[name](**values))
        np.testing.assert_allclose(got, on_x0 * share, rtol=2e-5, err_msg=output)


@pytest.mark.parametrize("space", ["own", "eps", "x0", "v"])
@pytest.mark.parametrize("path", SCHEDULES)
def test_the_simple_loss_is_the_squared_error_of_its_space(path, space):
    schedule, (alpha, sigma, _) = SCHEDULES[path]
    shares = share_of_x0(alpha, sigma)
    for output, share in shares.items():
        got = factor(schedule, PREDICTIONS[output](), WEIGHTINGS["simple"](space))
        expected = share / (share if space == "own" else shares[space])
        np.testing.assert_allclose(got, expected, rtol=2e-5, err_msg=output)


@pytest.mark.parametrize("sigma_data", [0.5, 1.3])
def test_the_edm_weighting_is_one_on_the_output_of_edm(sigma_data):
    got = factor(Flow(), EDM(sigma_data), WEIGHTINGS["edm"](sigma_data))
    np.testing.assert_allclose(got, 1, rtol=2e-5)
