"""Denoisers of two times: who asks for them, who passes the second time on, what a jump gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import KEY, MEAN, ONE, SPARING, STD, ideal, padded

from ddm_jax.diffusion.analytic import gaussian, gaussian_flow, gaussian_jump
from ddm_jax.diffusion.arrays import expand
from ddm_jax.diffusion.clipping import CLIPS
from ddm_jax.diffusion.combining import combine
from ddm_jax.diffusion.process import Estimate
from ddm_jax.diffusion.samplers.loop import integrate, sample
from ddm_jax.diffusion.samplers.one_step import DDIM, Euler
from ddm_jax.diffusion.samplers.timesteps import UniformGrid
from ddm_jax.diffusion.schedules.continuous import VP
from ddm_jax.diffusion.schedules.discrete import Cosine
from ddm_jax.diffusion.schedules.rates import VE, Flow

pytestmark = pytest.mark.usefixtures("quick_compilation")

SCHEDULES = [Cosine(), VP(), VE(), Flow()]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("sampler", [DDIM(), Euler()], ids=repr)
def test_jumps_end_on_the_exact_flow_in_any_number_of_steps(sampler, schedule):
    """And the estimate of the last call leads there from the last time to t = 0."""
    denoise = gaussian_jump(schedule, MEAN, STD)
    x = jnp.linspace(-2, 2, 7)[:, None] * schedule.sigma(ONE)

    @jax.jit
    def run(times):
        last, zero = times[-1], jnp.zeros(())
        at = integrate(denoise, schedule, sampler, times, x=x, key=KEY)
        x0 = sample(denoise, schedule, sampler, times, x=x, key=KEY)
        eps = (at - schedule.alpha(last) * x0) / schedule.sigma(last)
        landed = schedule.alpha(zero) * x0 + schedule.sigma(zero) * eps
        return (at, landed), [
            gaussian_flow(schedule, MEAN, STD, x, t=ONE, s=u) for u in (last, zero)
        ]

    for times in ([1.0, 0.0], [1.0, 0.8, 0.3, 0.2], [1.0, 0.6]):
        (at, landed), (exact_at, exact) = run(padded(jnp.float32(times), 4))
        np.testing.assert_allclose(at, exact_at, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(landed, exact, rtol=1e-3, atol=1e-3)


def test_a_jump_of_no_length_is_the_mean_and_times_may_be_each_examples_own():
    schedule, x = VP(), jnp.linspace(-1, 1, 3)[:, None, None]
    jump, mean = gaussian_jump(schedule, MEAN, STD), gaussian(schedule, MEAN, STD)
    t, s = jnp.array([0.9, 0.5, 0.4]), jnp.array([0.2, 0.5, 0.3])
    together = jump(x, t, s).x0
    for i in range(3):
        np.testing.assert_allclose(together[i], jump(x[i : i + 1], t[i], s[i]).x0[0], atol=1e-5)
    np.testing.assert_array_equal(together[1], mean(x, t).x0[1])
    np.testing.assert_array_equal(jump(x, t).x0, mean(x, t).x0)
    near = jump(x, t, t - 1e-2).x0
    np.testing.assert_allclose(near, mean(x, t).x0, atol=0.05)


@pytest.mark.parametrize("sampler", SPARING)
def test_the_last_call_asks_for_the_end_of_the_path(sampler):
    """s = 0, a time like t; only steps that a jump replaces may give s before."""
    schedule, x = VP(), jnp.ones((2, 1))
    usual = ideal(sampler, schedule)

    def denoise(x, t, s=None):
        told = jnp.full_like(x, -1.0 if s is None else s)
        return usual(x, t)._replace(variance_mix=told)

    last = jnp.float32(0.25)
    seen = []

    def watched(x, t, s=None):
        estimate = denoise(x, t, s)
        seen.append(s)
        at_last = expand(t == last, x)
        return estimate._replace(x0=jnp.where(at_last, estimate.variance_mix, estimate.x0))

    got = jax.jit(
        lambda x: sample(watched, schedule, sampler, jnp.array([1.0, 0.25]), x=x, key=KEY)
    )(x)
    np.testing.assert_array_equal(got, jnp.zeros_like(x))
    assert seen[-1] is not None and seen[-1].shape == ()


def test_guidance_and_clipping_pass_the_second_time_on():
    def telling(scale):
        return lambda x, t, s=None: Estimate(jnp.full_like(x, scale * (-1.0 if s is None else s)))

    x, t, s = jnp.zeros((2, 3)), jnp.float32(0.5), jnp.float32(0.25)
    guided = combine(telling(1.0), telling(0.2), 3.0)
    np.testing.assert_allclose(guided(x, t, s).x0, 0.25 * (0.2 + 3 * 0.8))
    np.testing.assert_allclose(guided(x, t).x0, -(0.2 + 3 * 0.8))
    for clip in CLIPS.values():
        np.testing.assert_allclose(clip(telling(1.0), -1.0, 1.0)(x, t, s).x0, 0.25)


@pytest.mark.parametrize("steps", [1, 3])
def test_one_time_denoisers_take_no_notice_of_it(steps):
    schedule = Flow()
    denoise, x = gaussian(schedule, MEAN, STD), jax.random.normal(KEY, (4, 2))
    times = UniformGrid().times(schedule, steps)
    got = sample(denoise, schedule, DDIM(), times, x=x, key=KEY)
    blind = sample(lambda x, t, s=None: denoise(x, t), schedule, DDIM(), times, x=x, key=KEY)
    np.testing.assert_array_equal(got, blind)
