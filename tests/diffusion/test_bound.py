"""Laws of the variational bound: above the exact bits, and closing in on them."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import padded

from ddm_jax.diffusion.analytic import dataset, gaussian, mixture
from ddm_jax.diffusion.arrays import fold_in
from ddm_jax.diffusion.likelihood.vlb import bits, decoder_term, kl_term, prior_term, vlb
from ddm_jax.diffusion.process import Estimate, diffuse, posterior
from ddm_jax.diffusion.samplers.timesteps import LogSNRGrid
from ddm_jax.diffusion.schedules.continuous import ContinuousCosine

pytestmark = pytest.mark.usefixtures("quick_compilation")

KEY = jax.random.key(5)
VALUES = jnp.linspace(-1.0, 1.0, 256)

# Data on the 256 values: their probabilities, and the exact denoiser of what they round.
MEAN, STD = 0.1, 0.15
MEANS, WIDTH, WEIGHTS = jnp.array([[-0.5], [0.45]]), 0.1, jnp.array([0.3, 0.7])


def rounded(mean, std):
    """The probabilities of N(mean, std^2) rounded to the values."""
    edges = np.concatenate([[-np.inf], np.linspace(-1, 1, 256)[:-1] + 1 / 255, [np.inf]])
    cdf = [0.5 * math.erfc(-(e - mean) / std / math.sqrt(2)) for e in edges]
    return np.diff(cdf)


DATA = {
    "gaussian": (rounded(MEAN, STD), lambda s: gaussian(s, MEAN, STD), 8.0),
    "mixture": (
        sum(float(w) * rounded(float(m[0]), WIDTH) for m, w in zip(MEANS, WEIGHTS, strict=True)),
        lambda s: mixture(s, MEANS, WIDTH, WEIGHTS),
        8.0,
    ),
    "bytes": (np.full(256, 1 / 256), lambda s: dataset(s, VALUES[:, None]), 13.0),
}


def matched(denoise, schedule, times):
    """The denoiser with the variance mix that matches the truth's Var(x_s | x_t) on a grid.

    Var(x_0 | x_t) = (sigma^2 / alpha) d x0_hat / d x_t, exact for every distribution.
    """

    def with_mix(x, t, s=None):
        k = jnp.minimum(jnp.argmin(abs(times - t)), len(times) - 2)
        x0, slope = jax.jvp(lambda y: denoise(y, t).x0, (x,), (jnp.ones_like(x),))
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        q = posterior(schedule, t, times[k + 1])
        unknown = q.of_x0**2 * sigma**2 / alpha * jnp.maximum(slope, 0.0) / q.variance
        large = 2 * jnp.log(sigma / schedule.sigma(times[k + 1]))
        mix = jnp.where(large > 1e-6, jnp.log1p(unknown) / jnp.maximum(large, 1e-6), 0.0)
        return Estimate(x0, jnp.where(t > times[-1], mix, 1.0))

    return with_mix


LONGEST = {"gaussian": 1000, "mixture": 800, "bytes": 100}


@functools.cache
def compiled_bound(name, variance):
    """(padded times, their number) -> the bound's mean over data and noise, by quadrature."""
    share, make, top = DATA[name]
    schedule = ContinuousCosine(-12.0, top)
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    x0 = jnp.repeat(VALUES, 8)[:, None]
    eps = jnp.tile(jnp.asarray(nodes, jnp.float32), 256)[:, None]
    weight = jnp.asarray(np.outer(share, weights / weights.sum()).reshape(-1, 1), jnp.float32)

    @jax.jit
    def total(times, steps):
        denoise = make(schedule)
        if variance == "learned":
            denoise = matched(denoise, schedule, times)

        def kl(pair):
            t, s = pair
            x_t = diffuse(schedule, x0, eps, t)
            return (
                weight * kl_term(schedule, denoise(x_t, t), x0, x_t, t=t, s=s, variance=variance)
            ).sum()

        x_t, last = diffuse(schedule, x0, eps, times[-1]), times[-1]
        how = {"before": times[steps - 2], "variance": variance, "low": -1.0, "high": 1.0}
        decoder = decoder_term(schedule, denoise(x_t, last), x0, last, **how)
        pairs = (times[:-1], times[1:])  # those that fill up are of one time twice
        inner = jax.lax.map(lambda p: jax.lax.cond(p[0] == p[1], lambda _: 0.0, kl, p), pairs).sum()
        return inner + (weight * (decoder + prior_term(schedule, x0))).sum()

    return schedule, total


def expected_bound(name, steps, variance):
    """The bound's mean over data and noise less the entropy, from single terms."""
    schedule, total = compiled_bound(name, variance)
    times, share = LogSNRGrid().times(schedule, steps), DATA[name][0]
    entropy = -(share[share > 0] * np.log2(share[share > 0])).sum()
    return float(total(padded(times, LONGEST[name]), steps)) / math.log(2) - entropy


@pytest.mark.parametrize("steps", [2, 3, 20])
def test_with_its_true_variance_a_gaussian_has_its_exact_bits_on_any_grid(steps):
    assert 0 < expected_bound("gaussian", steps, "learned") < 5e-4


@pytest.mark.parametrize("variance", ["large", "small"])
def test_the_bound_closes_in_from_above_as_one_over_the_number_of_times(variance):
    gaps = [expected_bound("gaussian", steps, variance) for steps in (50, 200, 1000)]
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[1] / gaps[2] == pytest.approx(5.0, abs=0.5)
    assert gaps[2] < (0.02 if variance == "large" else 0.06)


def test_the_bound_of_a_mixture_closes_in_on_its_entropy():
    gaps = [expected_bound("mixture", steps, "learned") for steps in (50, 200, 800)]
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[2] < 1.5e-3


@pytest.mark.slow
def test_uniform_bytes_have_eight_bits():
    gaps = [expected_bound("bytes", steps, "learned") for steps in (30, 100)]
    assert gaps[0] > gaps[1] > 0
    assert gaps[1] < 0.08


def examples(count=96, size=8):
    """Rounded draws of the Gaussian, float32 (count, size, size, 1)."""
    x = MEAN + STD * jax.random.normal(KEY, (count, size, size, 1))
    return VALUES[jnp.int32(jnp.round((x + 1) * 127.5)).clip(0, 255)]


@functools.cache
def compiled(scale, shift):
    """The bound of data scale x + shift, at the same ratios of noise to data for any scale."""
    schedule = ContinuousCosine(-12.0, 8.0, shift=-2 * math.log(scale))
    times = jnp.asarray(LogSNRGrid().times(schedule, 12))
    denoise = gaussian(schedule, scale * MEAN + shift, scale * STD)
    denoise = matched(denoise, schedule, times)
    how = {"variance": "learned", "low": shift - scale, "high": shift + scale}
    return jax.jit(lambda x, k: vlb(denoise, schedule, times, x, key=k, **how))


def run(x0, keys, scale=1.0, shift=0.0):
    return compiled(scale, shift)(scale * x0 + shift, keys)


KEYS = fold_in(KEY, jnp.arange(96))


def test_the_whole_bound_is_the_sum_of_its_parts_and_unbiased():
    x0 = examples(512)
    bound = run(x0, fold_in(KEY, jnp.arange(512)))
    assert bound.kl.shape == (11, 512) and bound.x0_mse.shape == (12, 512)
    parts = bound.prior + bound.kl.sum(0) + bound.decoder
    np.testing.assert_allclose(bound.total, parts, rtol=1e-6)
    np.testing.assert_allclose(
        bound.prior, bits(prior_term(ContinuousCosine(-12.0, 8.0), x0)), rtol=1e-3
    )
    log_share = np.log2(rounded(MEAN, STD))[np.round((np.asarray(x0) + 1) * 127.5).astype(int)]
    away = np.asarray(bound.total) + log_share.reshape(512, -1).mean(1)  # paired by example
    assert abs(away.mean()) < 4 * away.std() / np.sqrt(512)
    assert away.std() / np.sqrt(512) < 0.01
    snr = np.exp(np.linspace(-12.0, 8.0, 12))
    np.testing.assert_allclose(bound.x0_mse.mean(1), STD**2 / (1 + STD**2 * snr), rtol=0.05)


def test_an_example_depends_on_its_own_key_and_data_alone():
    x0 = examples()
    whole, part = run(x0, KEYS), run(x0[40:43], KEYS[40:43])
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_allclose(a[..., 40:43], b, rtol=1e-4, atol=1e-6)
    other = run(x0, KEYS[::-1])
    assert abs(other.total - whole.total).min() > 0


@pytest.mark.parametrize("scale, shift", [(1.0, 0.25), (2.0, 0.0), (0.5, -0.3)])
def test_bits_do_not_change_when_data_and_values_are_rescaled(scale, shift):
    """The prior alone sees where x_0 lies, here through a SNR of e^-12."""
    x0 = examples()
    base, moved = run(x0, KEYS), run(x0, KEYS, scale, shift)
    np.testing.assert_allclose(moved.decoder, base.decoder, atol=5e-4)
    np.testing.assert_allclose(moved.kl, base.kl, rtol=5e-3, atol=1e-4)
    np.testing.assert_allclose(moved.total, base.total, atol=2e-3)
