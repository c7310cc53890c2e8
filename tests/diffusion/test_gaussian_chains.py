"""The exact mean and variance of samplers on Gaussian data, however coarse the grid.

With data N(MEAN, STD^2) the denoiser is affine, so is every step, and x stays Gaussian. Here the
published algorithms run in float64 on coefficients of (1, start noise, z_1, z_2, ...): what a
sampler draws must have their mean and variance, far from the limit of many steps too.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import KEY, MEAN, STD, deviation, ideal

from ddm_jax.diffusion.analytic import gaussian, mixture
from ddm_jax.diffusion.samplers.exponential import DPMpp2M
from ddm_jax.diffusion.samplers.few_step import Consistency
from ddm_jax.diffusion.samplers.langevin import PredictorCorrector
from ddm_jax.diffusion.samplers.linear_multistep import AdamsBashforth
from ddm_jax.diffusion.samplers.loop import integrate, sample
from ddm_jax.diffusion.samplers.one_step import (
    DDIM,
    DDPM,
    Euler,
    EulerAncestral,
    EulerMaruyama,
    Heun,
    Midpoint,
)
from ddm_jax.diffusion.samplers.timesteps import LogSNRGrid
from ddm_jax.diffusion.schedules.continuous import VP

pytestmark = pytest.mark.usefixtures("quick_compilation")

TIMES = (1.0, 0.8, 0.55, 0.3, 0.12, 0.03)
COUNT = 100_000


class Chain:
    """Float64 rates of VP, the denoiser, and fresh noises, all as rows of coefficients."""

    def __init__(self):
        self.drawn = 0

    def b(self, t):
        u = 1e-5 + t * (1 - 1e-5)
        return 0.1 * u + 19.9 * u**2 / 2

    def rates(self, t):
        return np.exp(-self.b(t) / 2), np.sqrt(-np.expm1(-self.b(t)))

    def ratio(self, t):
        alpha, sigma = self.rates(t)
        return sigma / alpha

    def time(self, ratio):
        b = np.log1p(ratio**2)
        return (2 * b / (0.1 + np.sqrt(0.01 + 39.8 * b)) - 1e-5) / (1 - 1e-5)

    def start(self):
        alpha, sigma = self.rates(1.0)
        x = np.zeros(64)
        x[:2] = alpha * MEAN, np.hypot(alpha * STD, sigma)
        return x

    def noise(self):
        self.drawn += 1
        return np.eye(64)[1 + self.drawn]

    def x0(self, x, t):
        alpha, sigma = self.rates(t)
        gain = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
        return MEAN * (1 - gain * alpha) * np.eye(64)[0] + gain * x

    def score(self, x, t):
        alpha, sigma = self.rates(t)
        return (alpha * self.x0(x, t) - x) / sigma**2


def ddpm(chain, x, t, s, memory, variance):
    """Algorithm 2 of Ho et al. 2020 with beta = 1 - abar_t / abar_s."""
    (a, sigma), (a_s, sigma_s) = chain.rates(t), chain.rates(s)
    beta = 1 - a**2 / a_s**2
    eps = (x - a * chain.x0(x, t)) / sigma
    spread = beta * (sigma_s**2 / sigma**2 if variance == "small" else 1)
    return (x - beta / sigma * eps) / np.sqrt(1 - beta) + np.sqrt(spread) * chain.noise(), None


def ddim(chain, x, t, s, memory, eta):
    """Song et al. 2020, eq. 12 and 16."""
    (a, sigma), (a_s, sigma_s) = chain.rates(t), chain.rates(s)
    x0 = chain.x0(x, t)
    d = eta * sigma_s / sigma * np.sqrt(1 - a**2 / a_s**2)
    eps = (x - a * x0) / sigma
    return a_s * x0 + np.sqrt(sigma_s**2 - d**2) * eps + d * chain.noise(), None


def consistency(chain, x, t, s, memory):
    """Song et al. 2023, algorithm 1, with the exact end of the path of x."""
    (a, sigma), (a_s, sigma_s) = chain.rates(t), chain.rates(s)
    one = np.eye(64)[0]
    end = MEAN * one + STD / np.hypot(a * STD, sigma) * (x - a * MEAN * one)
    return a_s * end + sigma_s * chain.noise(), None


def ancestral(chain, x, t, s, memory, eta):
    """Euler's step in sigma and noise, as k-diffusion splits it."""
    a, a_s, r, r_s = chain.rates(t)[0], chain.rates(s)[0], chain.ratio(t), chain.ratio(s)
    up = eta * np.sqrt(r_s**2 * (r**2 - r_s**2) / r**2)
    down = np.sqrt(r_s**2 - up**2)
    y = x / a
    return a_s * (y + (y - chain.x0(x, t)) / r * (down - r) + up * chain.noise()), None


def heun(chain, x, t, s, memory, churn=0.0, low=0.0, high=np.inf, noise=1.0):
    """Karras et al. 2022, algorithm 2; the noise ends at the schedule's own."""
    a, a_s, r, r_s = chain.rates(t)[0], chain.rates(s)[0], chain.ratio(t), chain.ratio(s)
    gamma = min(churn, np.sqrt(2) - 1) if low <= r <= high else 0.0
    hat = min((1 + gamma) * r, chain.ratio(1.0))
    y = x / a + noise * np.sqrt(hat**2 - r**2) * chain.noise()
    t = chain.time(hat)
    d = (y - chain.x0(chain.rates(t)[0] * y, t)) / hat
    ahead = y + (r_s - hat) * d
    d_ahead = (ahead - chain.x0(a_s * ahead, s)) / r_s
    return a_s * (y + (r_s - hat) * (d + d_ahead) / 2), None


def midpoint(chain, x, t, s, memory):
    """The slope where sigma is the geometric mean."""
    a, a_s, r, r_s = chain.rates(t)[0], chain.rates(s)[0], chain.ratio(t), chain.ratio(s)
    y, r_m = x / a, np.sqrt(r * r_s)
    m = chain.time(r_m)
    y_m = y + (r_m - r) * (y - chain.x0(x, t)) / r
    return a_s * (y + (r_s - r) * (y_m - chain.x0(chain.rates(m)[0] * y_m, m)) / r_m), None


def adams_bashforth(chain, x, t, s, memory):
    """Order 2 for unequal steps, the first of order 1."""
    a, a_s, r, r_s = chain.rates(t)[0], chain.rates(s)[0], chain.ratio(t), chain.ratio(s)
    d = (x / a - chain.x0(x, t)) / r
    w, before = ((r_s - r) / (2 * (r - memory[0])), memory[1]) if memory else (0.0, d)
    return a_s * (x / a + (r_s - r) * ((1 + w) * d - w * before)), (r, d)


def euler_maruyama(chain, x, t, s, memory):
    """Song et al. 2021, eq. 6, with the equation's slopes between t and s."""
    beta = (0.1 + 19.9 * (1e-5 + (t + s) / 2 * (1 - 1e-5))) * (1 - 1e-5)
    drift = -beta / 2 * x - beta * chain.score(x, t)
    return x + drift * (s - t) + np.sqrt(beta * (t - s)) * chain.noise(), None


def dpmpp_2m(chain, x, t, s, memory, eta):
    """Lu et al. 2022, algorithm 2 and its SDE."""
    (_, sigma), (a_s, sigma_s) = chain.rates(t), chain.rates(s)
    h = np.log(chain.ratio(t) / chain.ratio(s))
    x0 = chain.x0(x, t)
    mean = x0 + h / (2 * memory[0]) * (x0 - memory[1]) if memory else x0
    moved = sigma_s / sigma * np.exp(-eta * h) * x - a_s * np.expm1(-(1 + eta) * h) * mean
    return moved + sigma_s * np.sqrt(-np.expm1(-2 * eta * h)) * chain.noise(), (h, x0)


def predictor_corrector(chain, x, t, s, memory, predictor, steps):
    """Song et al. 2021, algorithms 2 to 5, step sizes by the average norms of one dimension."""
    f = chain.rates(t)[0] / chain.rates(s)[0]
    if predictor == "ancestral":
        x, _ = ddpm(chain, x, t, s, None, "small")
    else:
        x = (2 - f) * x + (1 - f**2) * chain.score(x, t) + np.sqrt(1 - f**2) * chain.noise()
    for _ in range(steps):
        e = 2 * f**2 * (0.16 * chain.rates(s)[1]) ** 2
        x = x + e * chain.score(x, s) + np.sqrt(2 * e) * chain.noise()
    return x, None


LIMITS = {"churn": 0.3, "low": 2.0, "high": 10.0, "noise": 1.5}
CASES = [
    (DDPM("small"), ddpm, ("small",)),
    (DDPM("large"), ddpm, ("large",)),
    *((DDIM(eta), ddim, (eta,)) for eta in (0.0, 0.5, 1.0)),
    (Consistency(), consistency, ()),
    (Euler(), ancestral, (0.0,)),
    *((EulerAncestral(eta), ancestral, (eta,)) for eta in (0.5, 1.0)),
    (Heun(), heun, ()),
    (Heun(churn=9.0), heun, (9.0,)),
    (Heun(**LIMITS), heun, tuple(LIMITS.values())),
    (Midpoint(), midpoint, ()),
    (EulerMaruyama(), euler_maruyama, ()),
    (AdamsBashforth(2), adams_bashforth, ()),
    *((DPMpp2M(eta), dpmpp_2m, (eta,)) for eta in (0.0, 0.5, 1.0)),
    (PredictorCorrector(), predictor_corrector, ("reverse_diffusion", 1)),
    (
        PredictorCorrector(corrector_steps=4, predictor="ancestral"),
        predictor_corrector,
        ("ancestral", 4),
    ),
]


@pytest.mark.parametrize(
    ("sampler", "published", "settings"), CASES, ids=[repr(sampler) for sampler, *_ in CASES]
)
def test_a_coarse_chain_has_the_mean_and_variance_of_the_published_one(
    sampler, published, settings
):
    """At every time of five steps, whose Heun limits have sigma / alpha on both sides."""
    schedule, chain = VP(), Chain()
    x = schedule.alpha(1.0) * MEAN + deviation(schedule, 1.0) * jax.random.normal(KEY, (COUNT, 1))
    denoise, row, memory = ideal(sampler, schedule), chain.start(), None
    run = jax.jit(lambda times, x: integrate(denoise, schedule, sampler, times, x=x, key=KEY))
    for k in range(1, len(TIMES)):
        row, memory = published(chain, row, *TIMES[k - 1 : k + 1], memory, *settings)
        if k in (2, len(TIMES) - 1):
            times = jnp.float32(TIMES[: k + 1] + TIMES[k : k + 1] * (len(TIMES) - k - 1))
            got = np.asarray(run(times, x), np.float64)
            spread = np.sqrt((row[1:] ** 2).sum())
            assert abs(got.mean() - row[0]) < 5 * spread / np.sqrt(COUNT)
            assert got.std() == pytest.approx(spread, rel=4 / np.sqrt(COUNT))


@pytest.mark.parametrize("signal", [1.0, 0.25])
def test_a_corrector_by_norms_settles_with_the_size_of_its_step(signal):
    """(1 - e / v)^2 V + 2 e = V with e = 2 a snr^2 v^2 / V gives V = (1 + a snr^2) v, a = F^2."""
    schedule, s = VP(), jnp.float32(0.3)
    t = schedule.time(-jnp.log(jnp.expm1(jnp.log1p(jnp.exp(-schedule.logsnr(s))) - np.log(signal))))
    assert float((schedule.alpha(t) / schedule.alpha(s)) ** 2) == pytest.approx(signal, rel=1e-3)
    sampler = PredictorCorrector(snr=0.7, corrector_steps=60)
    x = schedule.alpha(t) * MEAN + deviation(schedule, t) * jax.random.normal(KEY, (4, 5000))
    got, _ = sampler.step(gaussian(schedule, MEAN, STD), schedule, x, t=t, s=s, key=KEY, memory=())
    variance = float(deviation(schedule, s)) ** 2
    assert float(got.var()) == pytest.approx((1 + 0.49 * signal) * variance, rel=0.03)


@pytest.mark.parametrize("predictor", ["reverse_diffusion", "ancestral"])
def test_a_corrector_keeps_the_weights_of_modes_in_two_dimensions(predictor):
    means = jnp.array([[-1.5, 0.0], [1.0, 1.0], [0.8, -1.4]])
    weights, schedule = np.array([0.62, 0.30, 0.08]), VP()
    denoise = mixture(schedule, means, 0.25, weights)
    noise = jax.random.normal(jax.random.key(1), (6_000, 2))
    times = LogSNRGrid().times(schedule, 120)
    sampler = PredictorCorrector(predictor=predictor)
    x = sample(denoise, schedule, sampler, times, x=noise, key=jax.random.key(2))
    nearest = np.asarray(((x[:, None] - means) ** 2).sum(-1)).argmin(1)
    share = np.bincount(nearest, minlength=3) / len(x)
    np.testing.assert_allclose(
        share, weights, atol=4 * np.sqrt(weights * (1 - weights) / len(x)).max()
    )
