"""Driving samplers and the schedulers of diffusers by the same function in place of a network.

Both go through the same levels, and every state on the way is compared to 1e-4. Conventions that
differ, so that grids and ends are chosen here:

- diffusers takes its last step to zero noise; ours ends with one call of the denoiser. For the
  first-order steps that it takes there these are the same x0_hat.
- DDIM and DDPM there step from level i to i - T // n whatever the grid: "leading" grids fit.
- Euler, Heun and EDM carry x / alpha, and interpolate sigma / alpha between levels, ours log-SNR:
  grids that land on levels agree.
"""

import importlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from torch_side import diffusers, torch

from ddm_jax.diffusion.arrays import normal_like
from ddm_jax.diffusion.process import Estimate
from ddm_jax.diffusion.schedules.discrete import Linear

KEY = jax.random.key(11)
LINEAR, STEPS = Linear(), 1000
X = np.random.default_rng(0).normal(size=(5, 1))
TO_37 = np.arange(999, 0, -37)  # 27 levels, with linspace(0, 999, 28) for the last at 0
TENTHS = np.arange(900, -1, -100)


def x0_of(x, level, lib=np):
    """The model of both: any smooth function."""
    return 0.8 * lib.tanh(x) + 0.1 * lib.sin(level / 200)


def denoise(x, t, s=None):
    return Estimate(x0_of(x, t * (STEPS - 1), jnp))


def rates(level, schedule=LINEAR):
    """(alpha, sigma) in float64."""
    abar = np.cumprod(1 - schedule.betas())[int(level)]
    return abar**0.5, (1 - abar) ** 0.5


def eps_of(x, level):
    alpha, sigma = rates(level)
    return (x - alpha * x0_of(x, level)) / sigma


def ours(sampler, levels, x=X, schedule=LINEAR, model=denoise, memory=None):
    """x at each of the levels, by our sampler; keys are KEY folded with the number of the step."""
    times = jnp.asarray(np.asarray(levels) / (STEPS - 1), jnp.float32)
    x = jnp.asarray(x, jnp.float32)
    memory = sampler.init(x) if memory is None else memory
    step = jax.jit(partial(sampler.step, model, schedule))
    states = [x]
    for k, (t, s) in enumerate(zip(times[:-1], times[1:], strict=True)):
        x, memory = step(x, t=t, s=s, key=jax.random.fold_in(KEY, k), memory=memory)
        states.append(x)
    return np.array(states)


def noise(k):
    return np.array(normal_like(jax.random.fold_in(KEY, k), jnp.zeros(X.shape)), np.float64)


def theirs(scheduler, x=X, model=eps_of, scaled=False, **step):
    """x at each timestep of a scheduler and at its end; `scaled` where it carries x / alpha.

    Of a level that is shown twice, the state at its second showing: the first is provisional.
    """
    x, states, seen = torch.tensor(x), [], []
    for k, level in enumerate(scheduler.timesteps):
        if seen and seen[-1] == int(level):
            states.pop()
            seen.pop()
        states.append(x.numpy().copy())
        seen.append(int(level))
        given = scheduler.scale_model_input(x, level) if scaled else x
        out = torch.tensor(model(given.numpy(), int(level)))
        extra = {name: torch.tensor(value(k)) for name, value in step.items()}
        x = scheduler.step(out, level, x, **extra).prev_sample
    return np.array([*states, x.numpy()]), seen


def unscaled(states, levels):
    """x from x / alpha, at the levels."""
    return np.array([rates(level)[0] * y for level, y in zip(levels, states, strict=False)])


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def fix_noise(monkeypatch, name):
    """The k-th draw of their scheduler `name` is noise(k)."""
    drawn = iter(range(100))
    module = importlib.import_module(f"diffusers.schedulers.scheduling_{name}")
    monkeypatch.setattr(module, "randn_tensor", lambda *a, **k: torch.tensor(noise(next(drawn))))


def make(name, steps, **config):
    """A scheduler on the linear betas of Ho et al., with everything off that changes estimates."""
    scheduler = getattr(diffusers, name)(**config)
    scheduler.set_timesteps(steps)
    return scheduler
