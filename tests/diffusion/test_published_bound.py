"""The bound as the code of Ho et al. and of Nichol & Dhariwal computes it, in betas and float64.

Written from arXiv:2006.11239 and arXiv:2102.09672 and what their code says of the lowest level: the
posterior variance is 0 there, so that of the level above stands in, for the "large" variance too.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr

from ddm_jax.diffusion.arrays import fold_in, normal_like
from ddm_jax.diffusion.likelihood.vlb import DECODERS, decoder_term, vlb
from ddm_jax.diffusion.process import Estimate
from ddm_jax.diffusion.samplers.timesteps import UniformGrid
from ddm_jax.diffusion.schedules.discrete import Cosine, Linear

pytestmark = pytest.mark.usefixtures("quick_compilation")

KEY = jax.random.key(3)
STEPS = 20
SCHEDULES = (Linear(1e-3, 0.3, num_timesteps=STEPS), Cosine(num_timesteps=STEPS))
PIXELS = np.concatenate([[0, 255], np.random.default_rng(0).integers(0, 256, 62)]).reshape(4, 16)
X0 = PIXELS / 127.5 - 1


def eps_of(x, sigma, lib=np):
    """The network's noise: near the ideal one of N(0, 1), and wrong enough for large terms."""
    return sigma * x + 0.3 * lib.sin(3 * x)


def mix_of(x, lib=np):
    return 0.5 + 0.4 * lib.sin(5 * x)


def gaussian_kl(mean, log_variance, other, other_log_variance):
    gap = log_variance - other_log_variance
    return 0.5 * (np.exp(gap) - gap - 1 + (mean - other) ** 2 / np.exp(other_log_variance))


def byte_nats(x0, mean, log_variance):
    """-log of the mass of N(mean, variance) on the bin of x0, 2 / 255 wide, open at -1 and 1."""
    deviation = np.exp(0.5 * log_variance)
    upper, lower = ((x0 + way / 255 - mean) / deviation for way in (1, -1))
    at_top, at_bottom = x0 > 0.999, x0 < -0.999
    inner = np.where(at_bottom, ndtr(upper), ndtr(upper) - ndtr(lower))
    return -np.log(np.where(at_top, ndtr(-lower), inner))


def log_variances(betas, variance, mix, i):
    """log of the model's variance at level i, counted from 0."""
    abar = np.cumprod(1 - betas)
    before = np.append(1.0, abar[:-1])
    posterior = betas * (1 - before) / (1 - abar)
    small = np.log(np.append(posterior[1], posterior[1:]))
    large = np.log(np.append(posterior[1], betas[1:]))
    if variance == "learned":
        return mix * np.log(betas[i]) + (1 - mix) * small[i]
    return {"small": small, "large": large}[variance][i]


def reference(betas, x0, noise, variance):
    """Prior, decoder (B,) and KLs (T - 1, B) from the top, bits a dimension; noise (T, B, ...)."""
    abar = np.cumprod(1 - betas)
    terms = []
    for i in reversed(range(len(betas))):
        x = np.sqrt(abar[i]) * x0 + np.sqrt(1 - abar[i]) * noise[len(betas) - 1 - i]
        x0_hat = (x - np.sqrt(1 - abar[i]) * eps_of(x, np.sqrt(1 - abar[i]))) / np.sqrt(abar[i])
        before = abar[i - 1] if i else 1.0
        of_x0 = betas[i] * np.sqrt(before) / (1 - abar[i])
        of_x = (1 - before) * np.sqrt(1 - betas[i]) / (1 - abar[i])
        truth, model = (of_x0 * a + of_x * x for a in (x0, x0_hat))
        log_variance = log_variances(betas, variance, mix_of(x), i)
        small = log_variances(betas, "small", None, i)
        kl = gaussian_kl(truth, small, model, log_variance)
        terms.append(byte_nats(x0, model, log_variance) if i == 0 else kl)
    prior = gaussian_kl(np.sqrt(abar[-1]) * x0, np.log(1 - abar[-1]), 0.0, 0.0)
    prior, *terms = [nats.mean(-1) / np.log(2) for nats in (prior, *terms)]
    return prior, terms[-1], np.array(terms[:-1])


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("variance", ["small", "large", "learned"])
def test_the_whole_bound_is_the_published_one(schedule, variance):
    def denoise(x, t, s=None):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        x0 = (x - sigma * eps_of(x, sigma, jnp)) / alpha
        return Estimate(x0, mix_of(x, jnp) if variance == "learned" else None)

    x0, times = jnp.asarray(X0, jnp.float32), UniformGrid().times(schedule, STEPS)
    noise = [normal_like(fold_in(KEY, k), x0) for k in range(STEPS)]
    bound = jax.jit(
        lambda x: vlb(
            denoise,
            schedule,
            times,
            x,
            key=KEY,
            variance=variance,
            low=-1.0,
            high=1.0,
            decoder="published",
        )
    )(x0)
    expected = reference(schedule.betas(), X0, np.array(noise, np.float64), variance)
    for name, got, want in zip(("prior", "decoder", "kl"), bound[1:4], expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, err_msg=name)
    prior, decoder, kl = expected
    np.testing.assert_allclose(bound.total, prior + decoder + kl.sum(0), rtol=1e-5)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("variance", ["small", "large", "learned"])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_decoder_has_one_of_three_variances(schedule, variance, decoder):
    """Learned ones lie between two of beta_1 (1 - abar_0) / (1 - abar_1), beta_0 / (1 - beta_0)
    and beta_0; at the lowest level the last two differ by alpha^2 = 1 - beta_0.
    """
    betas = schedule.betas()
    kept = 1 - betas[0]
    small = betas[1] * betas[0] / (1 - kept * (1 - betas[1]))
    large = betas[0] if decoder == "published" else betas[0] / kept
    x0_hat = X0 + 0.02 * np.sin(50 * X0)
    mix = mix_of(X0)
    log_variance = np.log(small if decoder == "published" else large)
    if variance == "learned":
        log_variance = mix * np.log(large) + (1 - mix) * np.log(small)
    estimate = Estimate(jnp.asarray(x0_hat, jnp.float32), jnp.asarray(mix, jnp.float32))
    how = {"variance": variance, "low": -1.0, "high": 1.0, "decoder": decoder}
    how["before"] = jnp.float32(1 / (STEPS - 1))
    got = decoder_term(schedule, estimate, jnp.asarray(X0), jnp.float32(0.0), **how)
    want = byte_nats(X0, x0_hat, log_variance)
    np.testing.assert_allclose(got, want, rtol=1e-5)
