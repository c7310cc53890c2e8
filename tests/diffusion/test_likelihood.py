"""Laws of the likelihood by the probability-flow ODE, on densities known in closed form."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.diffusion.analytic import dataset, gaussian, gaussian_flow, mixture, uniform
from ddm_jax.diffusion.arrays import fold_in
from ddm_jax.diffusion.likelihood.flow import TRACES, dequantise, log_prob, ode_bits
from ddm_jax.diffusion.schedules import SCHEDULES
from ddm_jax.diffusion.schedules.continuous import ContinuousCosine
from ddm_jax.diffusion.schedules.discrete import Cosine

pytestmark = pytest.mark.usefixtures("quick_compilation")

MEAN, STD = 0.1, 0.3
MEANS, WIDTH, WEIGHTS = jnp.array([[-0.5], [0.45]]), 0.1, jnp.array([0.3, 0.7])
KEY = jax.random.key(9)


def draws(count=64, size=3):
    return MEAN + STD * jax.random.normal(KEY, (count, size))


def normal_log(x, mean, variance):
    x = np.asarray(x, np.float64)
    return (-0.5 * (x - mean) ** 2 / variance - 0.5 * np.log(2 * np.pi * variance)).sum(1)


def smoothing(schedule):
    """(sigma(0) / alpha(0))^2."""
    return math.exp(-float(schedule.logsnr(jnp.zeros(()))))


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_gives_the_density_of_its_own_flow(name):
    """The flow of a Gaussian is affine, so the start's density carried back is known exactly."""
    schedule, x0 = SCHEDULES[name](), draws()

    @jax.jit
    def run(x0, ends):
        noise = gaussian_flow(
            schedule, MEAN, STD, schedule.alpha(ends[0]) * x0, t=ends[0], s=ends[1]
        )
        got = log_prob(gaussian(schedule, MEAN, STD), schedule, x0, KEY, steps=60)
        return schedule.alpha(ends[1]), schedule.sigma(ends[1]), noise, got

    alpha, sigma, noise, got = run(x0, jnp.array([0.0, 1.0]))
    alpha, sigma = np.float64(alpha), np.float64(sigma)
    variances = [alpha**2 * STD**2 + sigma**2, STD**2 + smoothing(schedule)]
    expected = normal_log(noise, 0.0, alpha**2 + sigma**2)
    expected = expected + 1.5 * np.log(variances[0] / variances[1])
    np.testing.assert_allclose(got, expected, atol=2e-3)


@pytest.mark.parametrize("trace", TRACES)
def test_every_trace_is_exact_where_elements_are_independent_and_gaussian(trace):
    """On the mean for normal numbers, whose squares vary; everywhere for the others."""
    schedule = Cosine()
    denoise = gaussian(schedule, MEAN, STD)
    expected = normal_log(draws(), MEAN, STD**2 + smoothing(schedule))
    probes = 400 if trace == "normal" else 1
    got = log_prob(denoise, schedule, draws(), KEY, steps=60, trace=trace, probes=probes) - expected
    spread = abs(got).max()
    if trace == "normal":
        assert abs(got.mean()) < 4 * got.std() / 8 and 0.01 < spread < 1
    else:
        assert spread < 1e-3


def test_the_solver_has_order_four():
    schedule = ContinuousCosine(-8.0, 6.0)
    denoise = mixture(schedule, MEANS, WIDTH, WEIGHTS)
    x0 = jnp.linspace(-0.8, 0.8, 32)[:, None]
    runs = [log_prob(denoise, schedule, x0, KEY, steps=steps) for steps in (20, 40, 80, 640)]
    errors = [float(abs(run - runs[-1]).mean()) for run in runs[:-1]]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > 3.2).all() and errors[-1] < 1e-3, (errors, orders)


def coupled(count=96):
    """A mixture in three dimensions whose elements depend on each other, and draws of it."""
    schedule = ContinuousCosine(-10.0, 8.0)
    means = jnp.array([[-0.6, -0.6, 0.2], [0.5, 0.1, -0.3]])
    which = jax.random.bernoulli(KEY, 0.7, (count,)).astype(jnp.int32)
    x0 = means[which] + 0.2 * jax.random.normal(fold_in(KEY, 1), (count, 3))
    denoise = mixture(schedule, means, 0.2, WEIGHTS)
    variance = 0.2**2 + smoothing(schedule)
    parts = [
        np.log(w) + normal_log(x0, np.asarray(m), variance)
        for w, m in zip((0.3, 0.7), means, strict=True)
    ]
    return denoise, schedule, x0, np.logaddexp(*parts)


def test_exact_and_estimated_traces_agree_on_a_mixture():
    denoise, schedule, x0, expected = coupled()
    exact = log_prob(denoise, schedule, x0, KEY, steps=60, trace="exact")
    np.testing.assert_allclose(exact, expected, atol=5e-3)
    for trace in ("rademacher", "normal"):
        one, many = (
            np.asarray(log_prob(denoise, schedule, x0, KEY, steps=60, trace=trace, probes=n))
            - expected
            for n in (1, 64)
        )
        assert one.std() > 2 * many.std() > 0
        assert abs(many.mean()) < 4 * many.std() / np.sqrt(len(many)) + 1e-3


def test_an_example_depends_on_its_own_key_and_data_alone():
    denoise, schedule, x0, _ = coupled(16)
    keys = fold_in(KEY, jnp.arange(16))

    @jax.jit
    def compute(x0, keys):
        return ode_bits(denoise, schedule, x0, keys, low=-1.0, high=1.0, steps=10, trace="normal")

    whole = compute(x0, keys)
    np.testing.assert_allclose(compute(x0[5:7], keys[5:7]), whole[5:7], rtol=1e-4)
    assert abs(compute(x0, keys[::-1]) - whole).min() > 0


def test_uniform_bytes_have_eight_bits():
    schedule = ContinuousCosine(-12.0, 18.0)
    x0 = jnp.repeat(jnp.linspace(-1.0, 1.0, 256), 8)[:, None]
    denoise = uniform(schedule, -1 - 1 / 255, 1 + 1 / 255)
    got = ode_bits(denoise, schedule, x0, KEY, low=-1.0, high=1.0)
    assert float(got.mean()) == pytest.approx(8.0, abs=2e-3)
    assert float(jnp.median(got)) == pytest.approx(8.0, abs=2e-4)


@pytest.mark.parametrize("kind", ["gaussian", "mixture"])
def test_bits_of_rounded_data_are_the_entropy_of_the_values(kind):
    """Mean over the values by their probabilities, one dequantised copy of each a bin's part."""
    schedule = ContinuousCosine(-12.0, 12.0)
    if kind == "gaussian":
        parts, denoise = [(1.0, 0.1, 0.15)], gaussian(schedule, 0.1, 0.15)
    else:
        parts = [(0.3, -0.5, 0.1), (0.7, 0.45, 0.1)]
        denoise = mixture(schedule, MEANS, WIDTH, WEIGHTS)
    edges = np.concatenate([[-np.inf], np.linspace(-1, 1, 256)[:-1] + 1 / 255, [np.inf]])
    below = [
        sum(w * 0.5 * math.erfc((m - e) / s / math.sqrt(2)) for w, m, s in parts) for e in edges
    ]
    share = np.diff(below)
    entropy = -(share[share > 0] * np.log2(share[share > 0])).sum()
    x0 = jnp.linspace(-1.0, 1.0, 256)[:, None]
    got = ode_bits(denoise, schedule, x0, KEY, low=-1.0, high=1.0, steps=80)
    assert (np.float64(got) * share).sum() == pytest.approx(entropy, abs=5e-3)


def test_bits_do_not_change_when_data_and_values_are_rescaled():
    """The start alone sees where x_0 lies, here through a signal rate of e^-7."""

    def compute(scale, shift):
        schedule = ContinuousCosine(-14.0, 8.0, shift=-2 * math.log(scale))
        denoise = gaussian(schedule, scale * MEAN + shift, scale * STD)
        x0 = scale * jnp.round(draws() * 127.5) / 127.5 + shift
        return ode_bits(denoise, schedule, x0, KEY, low=shift - scale, high=shift + scale)

    base = compute(1.0, 0.0)
    for scale, shift in ((1.0, 0.5), (2.0, 0.0), (0.5, -0.3)):
        np.testing.assert_allclose(compute(scale, shift), base, atol=2e-3)


def test_dequantised_data_fill_their_bins_evenly():
    low, high = jnp.array([-1.0, 0.0]), jnp.array([1.0, 4.0])
    u = dequantise(jnp.zeros((5000, 2)), KEY, low=low, high=high, levels=5) / jnp.array([0.5, 1.0])
    assert abs(u).max() <= 0.5
    u = np.sort(np.asarray(u), axis=0)
    assert abs(u + 0.5 - (np.arange(5000)[:, None] + 0.5) / 5000).max() < 0.03
    denoise = gaussian(Cosine(), 0.0, 1.0)
    with pytest.raises(ValueError, match="one of rademacher, normal, exact"):
        log_prob(denoise, Cosine(), jnp.asarray(u), KEY, steps=2, trace="hutchison")


def test_the_noise_left_at_the_start_widens_the_density():
    """Data at one value take the bits of a normal density of deviation sigma(0) / alpha(0)."""
    schedule, width = Cosine(), 2 / 255
    x0 = jnp.full((400, 1), -1 + 100 * width)
    spread = smoothing(schedule)
    expected = (
        0.5 * np.log2(2 * np.pi * spread) + width**2 / 24 / spread / np.log(2) - np.log2(width)
    )
    got = ode_bits(dataset(schedule, x0[:1]), schedule, x0, KEY, low=-1.0, high=1.0)
    assert float(got.mean()) == pytest.approx(expected, abs=0.02)
