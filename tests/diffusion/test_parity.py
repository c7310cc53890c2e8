"""Equality with diffusers: schedules, predictions and one-step samplers. See parity.py."""

import jax.numpy as jnp
import numpy as np
import pytest
from parity import (
    LINEAR,
    TENTHS,
    X,
    close,
    denoise,
    diffusers,
    eps_of,
    fix_noise,
    make,
    ours,
    rates,
    theirs,
    torch,
    unscaled,
    x0_of,
)

from ddm_jax.diffusion.predictions import PREDICTIONS, Parameterisation, denoiser, target
from ddm_jax.diffusion.process import Estimate
from ddm_jax.diffusion.samplers.one_step import DDIM, DDPM, Euler, EulerAncestral, Heun
from ddm_jax.diffusion.samplers.timesteps import KarrasGrid, UniformGrid
from ddm_jax.diffusion.schedules.discrete import Cosine, Linear, ScaledLinear
from ddm_jax.diffusion.schedules.rates import Flow

# Theirs, about numpy 2.
pytestmark = [
    pytest.mark.usefixtures("quick_compilation"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.mark.parametrize(
    "name, kind, schedule",
    [
        ("linear", {}, LINEAR),
        (
            "linear",
            {"beta_end": 0.04, "num_train_timesteps": 300},
            Linear(1e-4, 0.04, num_timesteps=300),
        ),
        ("scaled_linear", {"beta_start": 0.00085, "beta_end": 0.012}, ScaledLinear()),
        ("squaredcos_cap_v2", {}, Cosine()),
    ],
    ids=str,
)
def test_betas_and_levels(name, kind, schedule):
    """Their cosine is the published one to the last level; both clip beta at 0.999."""
    other = diffusers.DDPMScheduler(beta_schedule=name, **kind)
    np.testing.assert_allclose(other.betas, schedule.betas(), rtol=1e-4)
    t = jnp.arange(schedule.num_timesteps) / (schedule.num_timesteps - 1)
    # Theirs is a float32 product of a thousand factors.
    np.testing.assert_allclose(other.alphas_cumprod, schedule.alpha(t) ** 2, rtol=1e-3, atol=1e-7)


def test_zero_terminal_snr():
    """They end at 0 exactly, or 2^-24 where sigma / alpha is needed; ours at 2^-24."""
    other = diffusers.DDIMScheduler(rescale_betas_zero_snr=True)
    schedule = Linear(zero_terminal=True)
    alpha = np.asarray(schedule.alpha(jnp.arange(1000) / 999))
    np.testing.assert_allclose(np.sqrt(other.alphas_cumprod.numpy()), alpha, rtol=1e-3, atol=3e-4)
    euler = diffusers.EulerDiscreteScheduler(rescale_betas_zero_snr=True)
    assert float(euler.alphas_cumprod[-1]) == pytest.approx(alpha[-1] ** 2, rel=1e-3)


def test_karras_grid():
    other = make("EulerDiscreteScheduler", 9, use_karras_sigmas=True)
    ratio = np.exp(-0.5 * LINEAR.logsnr(jnp.asarray(KarrasGrid().times(LINEAR, 9))))
    np.testing.assert_allclose(ratio, other.sigmas[:-1], rtol=1e-3)


@pytest.mark.parametrize(
    "prediction, name", [("eps", "epsilon"), ("x0", "sample"), ("v", "v_prediction")]
)
def test_predictions(prediction, name):
    """The same raw output read as eps, x_0 and v."""
    raw, x = np.cos(X), np.random.default_rng(1).normal(size=X.shape)
    other = make("DDIMScheduler", 10, prediction_type=name, clip_sample=False)
    expected = other.step(torch.tensor(raw), 600, torch.tensor(x)).pred_original_sample
    row = PREDICTIONS[prediction]()
    form = Parameterisation(LINEAR, row, lambda s, t: t)
    net = denoiser(lambda *a, keys: jnp.asarray(raw), None, form)
    close(net(jnp.asarray(x, jnp.float32), jnp.float32(600 / 999)).x0, expected)


def test_v_target_is_their_velocity():
    level, eps = torch.tensor([600]), np.cos(X)
    other = diffusers.DDPMScheduler().get_velocity(torch.tensor(X), torch.tensor(eps), level)
    alpha, sigma = map(np.float32, rates(600))
    close(target(PREDICTIONS["v"](), alpha, sigma, x0=jnp.asarray(X), eps=jnp.asarray(eps)), other)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_ddim(eta, monkeypatch):
    """Their last step goes from level 0 to clean data; without noise it is x0_hat."""
    fix_noise(monkeypatch, "ddim")
    other = make("DDIMScheduler", 10, clip_sample=False)
    step = other.step
    other.step = lambda *a: step(*a, eta=eta)
    states, levels = theirs(other)
    assert levels == list(TENTHS)
    got = ours(DDIM(eta), TENTHS)
    close(got, states[:-1])
    if eta == 0:
        close(x0_of(got[-1], 0), states[-1])


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_ddpm(variance, monkeypatch):
    fix_noise(monkeypatch, "ddpm")
    other = make("DDPMScheduler", 10, clip_sample=False, variance_type=variance)
    states, _ = theirs(other)
    got = ours(DDPM(variance.removeprefix("fixed_")), TENTHS)
    close(got, states[:-1])
    close(x0_of(got[-1], 0), states[-1])


def test_ddpm_with_learned_range(monkeypatch):
    fix_noise(monkeypatch, "ddpm")
    other = make("DDPMScheduler", 10, clip_sample=False, variance_type="learned_range")
    states, _ = theirs(other, model=lambda x, i: np.concatenate([eps_of(x, i), np.sin(x)], 1))

    def learned(x, t, s=None):
        return denoise(x, t)._replace(variance_mix=0.5 * (jnp.sin(x) + 1))

    close(ours(DDPM("learned"), TENTHS, model=learned), states[:-1])


@pytest.mark.parametrize(
    "name, sampler", [("EulerDiscreteScheduler", Euler()), ("HeunDiscreteScheduler", Heun())]
)
def test_euler_and_heun(name, sampler):
    betas = {"beta_start": 1e-4, "beta_end": 0.02}  # not the default of their Heun
    other = make(name, 28, timestep_spacing="linspace", **betas)
    states, levels = theirs(other, X / rates(999)[0], scaled=True)
    got = ours(sampler, levels)
    close(got, unscaled(states, levels))
    close(x0_of(got[-1], 0), states[-1])


def test_euler_ancestral(monkeypatch):
    fix_noise(monkeypatch, "euler_ancestral_discrete")
    other = make("EulerAncestralDiscreteScheduler", 28, timestep_spacing="linspace")
    states, levels = theirs(other, X / rates(999)[0], scaled=True)
    got = ours(EulerAncestral(), levels)
    close(got, unscaled(states, levels))
    close(x0_of(got[-1], 0), states[-1])


@pytest.mark.parametrize("sampler", [Euler(), DDIM()], ids=repr)
def test_flow_euler(sampler):
    """x + (s - t) v on the straight path: DDIM's step."""
    schedule = Flow(0.001)
    times = UniformGrid().times(schedule, 12)
    sigmas = np.asarray(schedule.sigma(jnp.asarray(times)), np.float64)
    other = diffusers.FlowMatchEulerDiscreteScheduler()
    other.set_timesteps(sigmas=sigmas.tolist())
    x, states = torch.tensor(X), []
    for k, level in enumerate(other.timesteps):
        states.append(x.numpy().copy())
        guess = x0_of(x.numpy(), 500)
        v = (x.numpy() - (1 - sigmas[k]) * guess) / sigmas[k] - guess
        x = other.step(torch.tensor(v), level, x).prev_sample

    def model(x, t, s=None):
        return Estimate(x0_of(x, 500, jnp))

    got = ours(sampler, times * 999, X, schedule, model)
    close(got, states)
    close(x0_of(got[-1], 500), x.numpy())
