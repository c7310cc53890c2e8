"""Laws of the single terms of the variational bound, by quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.diffusion.likelihood.vlb import decoder_term, kl_term, prior_term
from ddm_jax.diffusion.process import VARIANCES, Estimate
from ddm_jax.diffusion.samplers.loop import prior
from ddm_jax.diffusion.schedules import SCHEDULES
from ddm_jax.diffusion.schedules.continuous import ContinuousCosine
from ddm_jax.diffusion.schedules.discrete import Cosine

pytestmark = pytest.mark.usefixtures("quick_compilation")

KEY = jax.random.key(5)
VALUES = jnp.linspace(-1.0, 1.0, 256)
every_schedule = pytest.mark.parametrize(
    "schedule", [c() for c in SCHEDULES.values()], ids=SCHEDULES
)


def kl_by_quadrature(mean, variance, other_mean, other_variance):
    """The integral of q log(q / p) for Gaussians q and p, on a grid of float64."""
    z = np.linspace(-12, 12, 20_001)
    x = mean + np.sqrt(variance) * z
    log_q = -0.5 * (z**2 + np.log(2 * np.pi * variance))
    log_p = -0.5 * ((x - other_mean) ** 2 / other_variance + np.log(2 * np.pi * other_variance))
    q = np.exp(log_q) * np.sqrt(variance) * (z[1] - z[0])
    return (q * (log_q - log_p)).sum()


def rates(schedule, t):
    return float(schedule.alpha(jnp.float32(t))), float(schedule.sigma(jnp.float32(t)))


@every_schedule
def test_the_prior_term_is_the_divergence_from_where_sampling_starts(schedule):
    x0 = jnp.array([[-1.0], [0.0], [0.7]])
    alpha, sigma = rates(schedule, 1.0)
    deviation = float(prior(schedule, KEY, jnp.zeros(100_000)).std())
    assert deviation**2 == pytest.approx(alpha**2 + sigma**2, rel=0.02)
    expected = [
        kl_by_quadrature(alpha * float(x[0]), sigma**2, 0.0, alpha**2 + sigma**2) for x in x0
    ]
    np.testing.assert_allclose(prior_term(schedule, x0)[:, 0], expected, rtol=1e-3, atol=1e-7)


@every_schedule
@pytest.mark.parametrize("variance", VARIANCES)
def test_kl_terms_are_the_divergence_between_bayes_and_the_model(schedule, variance):
    """q(x_s | x_t, x_0) as the product of q(x_s | x_0) and q(x_t | x_s), in float64."""
    t, s, x0, x0_hat, mix = 0.7, 0.5, 0.6, 0.35, 0.3
    (a_t, o_t), (a_s, o_s) = rates(schedule, t), rates(schedule, s)
    a, x_t = a_t / a_s, a_t * x0 - 0.8 * o_t
    large = o_t**2 - (a * o_s) ** 2
    small = 1 / (1 / o_s**2 + a**2 / large)
    q, p = (small * (a_s * x / o_s**2 + a * x_t / large) for x in (x0, x0_hat))
    of_model = {"small": small, "large": large, "learned": large**mix * small ** (1 - mix)}
    expected = kl_by_quadrature(q, small, p, of_model[variance])
    one = jnp.ones((1, 1))
    estimate = Estimate(x0_hat * one, mix * one)
    how = {"t": jnp.array([t]), "s": jnp.array([s]), "variance": variance}
    got = kl_term(schedule, estimate, x0 * one, x_t * one, **how)
    np.testing.assert_allclose(got, [[expected]], rtol=2e-3)


def test_a_learned_variance_at_its_ends_is_the_large_and_the_small():
    x0, x_t, x0_hat = jax.random.normal(KEY, (3, 5, 4))
    x0 = VALUES[jnp.int32(128 + 40 * x0).clip(0, 255)]
    t, s = jnp.linspace(0.2, 0.9, 5), jnp.linspace(0.1, 0.8, 5)
    for mix, name in ((1.0, "large"), (0.0, "small")):
        learned = Estimate(x0_hat, jnp.full_like(x0, mix))
        got = kl_term(Cosine(), learned, x0, x_t, t=t, s=s, variance="learned")
        plain = kl_term(Cosine(), Estimate(x0_hat), x0, x_t, t=t, s=s, variance=name)
        np.testing.assert_allclose(got, plain, rtol=1e-5, atol=1e-5)
    how = {"before": t, "variance": "learned", "low": -1.0, "high": 1.0}
    # mix 1: the decoder's own variance
    learned = decoder_term(Cosine(), Estimate(x0_hat, jnp.ones_like(x0)), x0, s, **how)
    plain = decoder_term(
        Cosine(), Estimate(x0_hat), x0, s, before=t, variance="large", low=-1.0, high=1.0
    )
    np.testing.assert_allclose(learned, plain, rtol=1e-5)
    for term in (kl_term, decoder_term):
        with pytest.raises(ValueError, match="a network that predicts it"):
            if term is kl_term:
                term(Cosine(), Estimate(x0_hat), x0, x_t, t=t, s=s, variance="learned")
            else:
                term(Cosine(), Estimate(x0_hat), x0, s, **how)


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("x0_hat", [-40.0, -1.0, 0.123, 0.99])
def test_the_decoder_is_a_distribution_over_the_values(variance, x0_hat):
    estimate = Estimate(jnp.full((256, 1), x0_hat), jnp.full((256, 1), 0.4))
    for t in (0.0, 0.3):
        nats = decoder_term(
            Cosine(),
            estimate,
            VALUES[:, None],
            jnp.float32(t),
            before=jnp.float32(t + 0.001),
            variance=variance,
            low=-1.0,
            high=1.0,
        )
        assert np.isfinite(nats).all()
        assert np.exp(-np.float64(nats)).sum() == pytest.approx(1.0, abs=1e-5)


def test_the_decoder_keeps_its_digits_far_into_the_tails():
    """Against the integral of the density over the bin, in float64 and logarithms."""
    schedule = ContinuousCosine()
    t = schedule.time(jnp.float32(10.0))
    x0_hat, deviation = -2.0, np.exp(-5.0)
    nats = decoder_term(
        schedule,
        Estimate(jnp.full(256, x0_hat)),
        VALUES,
        t,
        before=t,
        variance="large",
        low=-1.0,
        high=1.0,
    )
    middle = np.asarray(VALUES, np.float64)[1:-1]
    u = np.linspace(-1 / 255, 1 / 255, 2001)[1::2]
    log_density = -0.5 * ((middle[:, None] + u - x0_hat) / deviation) ** 2
    top = log_density.max(1, keepdims=True)
    share = np.log(np.exp(log_density - top).mean(1)) + top[:, 0]
    expected = -(share + np.log(2 / 255 / deviation / np.sqrt(2 * np.pi)))
    np.testing.assert_allclose(nats[1:-1], expected, rtol=2e-5)
    assert expected.max() > 90_000
