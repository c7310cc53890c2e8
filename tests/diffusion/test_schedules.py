"""Laws of every row of SCHEDULES, and the published figures."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import SET, SETTINGS

from ddm_jax.diffusion.process import forward_kernel, sde
from ddm_jax.diffusion.schedules import SCHEDULES
from ddm_jax.diffusion.schedules.base import MOST
from ddm_jax.diffusion.schedules.continuous import VP, ContinuousCosine, Laplace, Sigmoid, SubVP
from ddm_jax.diffusion.schedules.discrete import DISCRETE, Cosine, Linear
from ddm_jax.diffusion.schedules.learned import Learned
from ddm_jax.diffusion.schedules.rates import EDM, VE, Flow, OffsetCosine

pytestmark = pytest.mark.usefixtures("quick_compilation")

T = np.linspace(0.0, 1.0, 401, dtype=np.float32)
EVEN = np.linspace(0.0, 1.0, 2001, dtype=np.float32)
# Between levels of a discrete schedule, where it has a slope.
INNER, H = (np.arange(100, 900, 37, dtype=np.float32) + 0.5) / 999, 4e-4
NEAR = 1 - np.arange(1, 200, dtype=np.float32) * 2.0**-22
any_setting = pytest.mark.parametrize("name", SET)
every = pytest.mark.parametrize("name", SCHEDULES)
NOT_VARIANCE_PRESERVING = {"sub_vp", "ve", "edm", "flow"}


@functools.cache
def seen(name):
    """What the laws ask of a setting of SET, by one compiled program."""
    schedule = SET[name]

    @jax.jit
    def run(t, even, near):
        logsnr, ends = schedule.logsnr(t), schedule.logsnr(jnp.array([0.0, 1.0]))
        high, low = jnp.clip(ends, -15.0, 15.0)
        asked = high + even * (low - high)
        return {
            "alpha": schedule.alpha(t),
            "sigma": schedule.sigma(t),
            "logsnr": logsnr,
            "ends": ends,
            "times": schedule.time(logsnr),
            "asked": asked,
            "back": schedule.logsnr(schedule.time(asked)),
            "near": schedule.time(schedule.logsnr(near)),
        }

    return {key: np.asarray(value) for key, value in run(T, EVEN, NEAR).items()}


@functools.cache
def slopes(name):
    """What the laws ask of a schedule's derivatives, by one compiled program."""
    schedule = SET[f"{name}-0"]

    @jax.jit
    def run(t, inner):
        f, g2 = sde(schedule, inner)
        ahead, behind = inner + H, inner - H
        return {
            "slope": jax.vmap(jax.grad(schedule.logsnr))(t[1:-1]),
            "f": f,
            "g2": g2,
            "rise": (jnp.log(schedule.alpha(ahead)) - jnp.log(schedule.alpha(behind))) / (2 * H),
            "growth": (schedule.sigma(ahead) ** 2 - schedule.sigma(behind) ** 2) / (2 * H),
            "sigma": schedule.sigma(inner),
        }

    return {key: np.asarray(value) for key, value in run(T, INNER).items()}


@any_setting
def test_rates_and_logsnr_agree_are_finite_and_in_order(name):
    """Both rates positive, logsnr = 2 log(alpha / sigma), strictly decreasing."""
    alpha, sigma, logsnr = (seen(name)[rate] for rate in ("alpha", "sigma", "logsnr"))
    for rate in (alpha, sigma):
        assert rate.shape == T.shape and (rate > 0).all() and np.isfinite(rate).all()
    np.testing.assert_allclose(logsnr, 2 * np.log(alpha / sigma), rtol=1e-5, atol=1e-4)
    assert (np.diff(logsnr) < 0).all()


@any_setting
def test_time_inverts_logsnr(name):
    """Measured in log-SNR, where the errors of times near both ends show, within +-15."""
    asked, back = seen(name)["asked"], seen(name)["back"]
    assert (abs(back - asked) / np.maximum(abs(asked), 1.0)).max() < 1e-3
    np.testing.assert_allclose(seen(name)["times"], T, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in SET if n.startswith(("sigmoid", "laplace"))])
def test_time_keeps_the_last_digits_at_the_noisy_end(name):
    """To the resolution of float32 below 1, where log-SNR is steepest."""
    np.testing.assert_allclose(seen(name)["near"], NEAR, rtol=0, atol=2.0**-24)


def ends_asked(schedule):
    """The log-SNRs at t = 0 and t = 1 by the published formulas, in float64."""
    s = schedule
    name = type(s).__name__
    if name in DISCRETE_CLASSES:
        abar = np.cumprod(1 - s.betas())
        low = min(2.0**-24, abar[-1]) if s.zero_terminal else abar[-1]
        return [np.log(a / (1 - a)) for a in (abar[0], low)]
    if name in ("VE", "EDM"):
        return [-2 * np.log(s.min_sigma), -2 * np.log(s.max_sigma)]
    if name == "Flow":
        return [2 * np.log(1 / s.epsilon - 1), -2 * np.log(1 / s.epsilon - 1)]
    if name == "OffsetCosine":
        return [np.log(a**2 / (1 - a**2)) for a in (s.max_signal, s.min_signal)]
    if name in ("VP", "SubVP"):
        b = [s.beta_min * u + (s.beta_max - s.beta_min) * u**2 / 2 for u in (s.epsilon, 1.0)]
        return [-x - (1 + (name == "SubVP")) * np.log(-np.expm1(-x)) for x in b]
    shift = getattr(s, "shift", 0.0)
    return [s.max_logsnr + shift, s.min_logsnr + shift]


DISCRETE_CLASSES = {cls.__name__ for cls in DISCRETE.values()}


PUBLISHED = [name for name in SET if name.rpartition("-")[0] in SETTINGS]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_ends_are_those_that_were_asked(name):
    np.testing.assert_allclose(seen(name)["ends"], ends_asked(SET[name]), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (Sigmoid, {"min_logsnr": -20.0}),
        (Sigmoid, {"tau": 9.0}),
        (Laplace, {"b": 0.25}),
        (Laplace, {"min_logsnr": -9.0}),
        (Flow, {"epsilon": 1e-7}),
        (OffsetCosine, {"min_signal": 1e-7}),
        (ContinuousCosine, {"min_logsnr": -40.0}),
    ],
)
def test_ends_that_float32_times_cannot_follow_are_refused_and_the_remedy_works(cls, settings):
    with pytest.raises(ValueError, match="too steeply at t = 1 .*; end [0-9.]+ higher") as error:
        cls(**settings)
    lift = float(str(error.value).split(" end ")[1].split()[0])
    if cls in (Sigmoid, Laplace, ContinuousCosine):
        low = settings.get("min_logsnr", cls.min_logsnr)
        schedule = cls(**{**settings, "min_logsnr": low + lift})
        logsnr = schedule.logsnr(jnp.array([1 - 2.0**-24, 1.0]))
        assert jnp.isfinite(logsnr).all() and logsnr[0] > logsnr[1]


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (VP, {"beta_max": 200.0}),
        (SubVP, {"beta_max": 1e4}),
        (Linear, {"num_timesteps": 10_000}),
        (SCHEDULES["constant"], {"beta": 0.5}),
        (ContinuousCosine, {"shift": -80.0}),
        (Learned, {"min_logsnr": -100.0}),
    ],
)
def test_ends_without_signal_in_float32_are_refused(cls, settings):
    with pytest.raises(ValueError, match="log-SNR falls to .* the signal is lost"):
        cls(**settings)


@pytest.mark.parametrize("name", sorted(SCHEDULES.keys() - NOT_VARIANCE_PRESERVING))
def test_variance_is_preserved_by_the_others(name):
    rates = seen(f"{name}-0")
    np.testing.assert_allclose(rates["alpha"] ** 2 + rates["sigma"] ** 2, 1, atol=1e-6)


@every
def test_schedules_jit_vmap_and_differentiate(name):
    assert hash(SET[f"{name}-0"]) == hash(SCHEDULES[name]())
    slope = slopes(name)["slope"]
    assert (slope < 0).all() and np.isfinite(slope).all()
    t, alpha = jnp.asarray(T), SET[f"{name}-0"].alpha
    np.testing.assert_allclose(jax.vmap(alpha)(t), alpha(t), rtol=1e-5)  # another program: rounding


@every
def test_drift_and_diffusion_keep_the_marginal_variance(name):
    """d(alpha)/dt = f alpha and d(sigma^2)/dt = 2 f sigma^2 + g^2, by central differences."""
    s = slopes(name)
    np.testing.assert_allclose(s["f"], s["rise"], rtol=0.03, atol=2e-3)
    published = s["growth"] - 2 * s["f"] * s["sigma"] ** 2
    np.testing.assert_allclose(s["g2"], published, rtol=0.03, atol=2e-3)
    assert (s["g2"] > 0).all()


def test_drift_and_diffusion_of_the_published_equations():
    t = jnp.linspace(0.05, 0.95, 19)
    u = 1e-5 + t * (1 - 1e-5)
    beta = 0.1 + u * 19.9
    f, g2 = sde(VP(), t)
    np.testing.assert_allclose(f, -beta / 2, rtol=1e-3)
    np.testing.assert_allclose(g2, beta, rtol=1e-3)

    u = 1e-3 + t * (1 - 1e-3)
    beta = (0.1 + u * 19.9) * (1 - 1e-3)
    integral = 0.1 * u + 19.9 * u**2 / 2
    f, g2 = sde(SubVP(), t)
    np.testing.assert_allclose(f, -beta / 2, rtol=1e-3)
    np.testing.assert_allclose(g2, beta * (1 - jnp.exp(-2 * integral)), rtol=2e-3)

    schedule = VE()
    f, g2 = sde(schedule, t)
    np.testing.assert_array_equal(f, 0)
    np.testing.assert_allclose(g2, schedule.sigma(t) ** 2 * 2 * np.log(5000), rtol=1e-3)


def test_curves_have_their_published_values():
    half = jnp.float32(0.5)
    assert float(ContinuousCosine().alpha(half)) == pytest.approx(np.cos(np.pi / 4), abs=1e-5)
    u, rest = ContinuousCosine().inverse(jnp.array([9.0, 2.0, -5.0]))
    np.testing.assert_allclose(u + rest, 1, rtol=1e-6)
    rates = np.cos(np.pi / 2 * u) ** 2, np.sin(np.pi / 2 * u) ** 2
    np.testing.assert_allclose(np.log(rates[0] / rates[1]), [9.0, 2.0, -5.0], rtol=1e-3)
    np.testing.assert_allclose(ContinuousCosine().curve(u, rest), [9.0, 2.0, -5.0], rtol=1e-4)
    shift = 2 * np.log(64 / 256)
    moved = ContinuousCosine(shift=shift).logsnr(T) - ContinuousCosine().logsnr(T)
    np.testing.assert_allclose(moved, shift, atol=1e-5)
    # Sigmoid: abar from its definition in float64, at u that t covers.
    schedule = Sigmoid()
    start, rest = schedule.ends()
    u = start + np.linspace(0.01, 0.99, 50) * (1 - rest - start)
    s = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    published = (s(3) - s(-3 + 6 * u)) / (s(3) - s(-3))
    np.testing.assert_allclose(
        schedule.alpha(jnp.linspace(0.01, 0.99, 50)) ** 2, published, rtol=1e-4
    )
    # Laplace: uniform times have the quantiles of the distribution.
    quarter = Laplace(mu=1.0, b=2.0, min_logsnr=-15.0, max_logsnr=17.0).logsnr(jnp.float32(0.25))
    assert float(quarter) == pytest.approx(1.0 + 2.0 * np.log(2), abs=1e-3)
    assert float(EDM().sigma(jnp.float32(0.0))) == pytest.approx(0.002, rel=1e-4)
    assert float(EDM().sigma(jnp.float32(1.0))) == pytest.approx(80, rel=1e-4)
    assert float(Flow().alpha(half)) == pytest.approx(0.5) == float(Flow().sigma(half))
    ends = Learned(max_logsnr=9.0, min_logsnr=-7.0).logsnr(jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(ends, [9.0, -7.0], rtol=1e-5)


def test_betas_have_their_published_form():
    """Each from its formula at T = 1000, through the signal that is left at every level."""
    i = np.arange(1000) / 999
    published = {
        "linear": 1e-4 + i * (0.02 - 1e-4),
        "scaled_linear": (0.00085**0.5 + i * (0.012**0.5 - 0.00085**0.5)) ** 2,
        "quadratic": (1e-2 + i * (0.02**0.5 - 1e-2)) ** 2,
        "constant": np.full(1000, 0.01),
        "inverse": np.minimum(1 / (1000 - np.arange(1000)), 0.999),
    }
    for name, betas in published.items():
        signal = np.cumprod(1 - betas)
        got = DISCRETE[name]().alpha(jnp.asarray(i, jnp.float32)) ** 2
        np.testing.assert_allclose(got[:-1], signal[:-1], rtol=2e-3, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("name", DISCRETE)
def test_zero_terminal_snr_keeps_the_first_level_and_ends_in_noise(name):
    plain, zero = DISCRETE[name](), DISCRETE[name](zero_terminal=True)
    assert abar(zero, 0.0) == pytest.approx(abar(plain, 0.0), rel=1e-6)
    assert abar(zero, 1.0) == pytest.approx(min(2.0**-24, abar(plain, 1.0)), rel=1e-3)
    logsnr = np.asarray(zero.logsnr(T))
    assert (np.diff(logsnr) < 0).all() and np.isfinite(logsnr).all()


def test_inverse_betas_lower_the_signal_linearly():
    levels = np.arange(1, 999)
    signal = SCHEDULES["inverse"]().alpha(jnp.asarray(levels / 999)) ** 2
    np.testing.assert_allclose(signal, 1 - (levels + 1) / 1000, rtol=1e-3)


def abar(schedule, t):
    return float(schedule.alpha(jnp.float32(t))) ** 2


@pytest.mark.parametrize(
    "schedule, expected",
    [
        (Linear(), 4.036e-5),
        (Linear(num_timesteps=300), 0.0481),
        (Linear(num_timesteps=200), 0.1322),
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
    short = abar(Linear(num_timesteps=200, scaled=True), 1.0)
    assert np.log(short) == pytest.approx(np.log(4.036e-5), rel=0.03)


@pytest.mark.parametrize(
    "schedule", [Linear(), Linear(num_timesteps=50), Cosine(num_timesteps=100)]
)
def test_levels_are_the_product_of_one_step_kernels(schedule):
    """The chain of T one-step kernels has the closed form's mean and variance, and its betas."""
    betas = schedule.betas()
    mean, variance = 1.0, 0.0
    for beta in betas:
        mean, variance = np.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
    assert abar(schedule, 1.0) == pytest.approx(mean**2, rel=1e-4)
    assert float(schedule.sigma(jnp.float32(1.0))) ** 2 == pytest.approx(variance, rel=1e-6)

    t = jnp.arange(schedule.num_timesteps) / (schedule.num_timesteps - 1)
    kernel = forward_kernel(schedule, t[:-1], t[1:])
    # A difference of float32 log-SNRs of size 10 or so carries an error of some 1e-6.
    np.testing.assert_allclose(kernel.variance, betas[1:], rtol=2e-2, atol=2e-6)
    np.testing.assert_allclose(kernel.of_x, np.sqrt(1 - betas[1:]), rtol=1e-4)


def test_settings_come_in_the_order_of_the_formula():
    """Those of all schedules by name alone."""
    assert Linear(1e-4, 0.01) == Linear(beta_start=1e-4, beta_end=0.01)
    assert VP(0.2, 10.0) == VP(beta_min=0.2, beta_max=10.0)
    with pytest.raises(TypeError):
        Flow(1e-3, 1000)


def test_as_many_timesteps_as_float32_tells_apart():
    """Times grow coarser towards 1: of MOST levels none shares its time, of four times as many some
    do.
    """

    def last(count):
        return np.float32(np.arange(count - 1000, count) / (count - 1))

    assert (np.diff(last(MOST)) > 0).all()
    assert (np.diff(last(4 * MOST)) == 0).any()
    Flow(num_timesteps=MOST)
    for count in (MOST + 1, 2**31, 1, -5):
        with pytest.raises(ValueError, match="at least 2 and at most 16,777,216"):
            Flow(num_timesteps=count)


def test_refusals_name_the_reason():
    with pytest.raises(ValueError, match="at least 2"):
        Linear(num_timesteps=1)
    with pytest.raises(ValueError, match="betas run from"):
        Linear(num_timesteps=10, scaled=True)
    with pytest.raises(ValueError, match="max_beta"):
        Cosine(max_beta=1.0)
    with pytest.raises(ValueError, match="min_signal < max_signal"):
        OffsetCosine(min_signal=0.96)
