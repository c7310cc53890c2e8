"""Laws of every sampler as an (init, step) pair, and of the loop that drives them."""

import itertools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import KEY, ONE, ROWS, SPARING, ZERO, evaluations, grid_of, ideal

from ddm_jax.diffusion.arrays import fold_in
from ddm_jax.diffusion.clipping import CLIPS, clip_x0
from ddm_jax.diffusion.process import Estimate
from ddm_jax.diffusion.samplers.adaptive import Adaptive
from ddm_jax.diffusion.samplers.base import Sampler
from ddm_jax.diffusion.samplers.exponential import DPMpp2M, UniPC
from ddm_jax.diffusion.samplers.langevin import PredictorCorrector
from ddm_jax.diffusion.samplers.linear_multistep import DEIS, PNDM, AdamsBashforth
from ddm_jax.diffusion.samplers.loop import integrate, prior, sample
from ddm_jax.diffusion.samplers.one_step import DDIM, DDPM, EulerAncestral, Heun
from ddm_jax.diffusion.samplers.timesteps import TIMESTEPS, UniformGrid
from ddm_jax.diffusion.schedules import SCHEDULES
from ddm_jax.diffusion.schedules.discrete import Cosine, Linear
from ddm_jax.diffusion.schedules.rates import VE

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.mark.parametrize("sampler", SPARING)
@pytest.mark.parametrize("schedule", [Cosine(), VE()], ids=repr)
def test_one_time_is_one_call_of_the_denoiser(sampler, schedule):
    denoise = ideal(sampler, schedule)
    x = prior(schedule, KEY, jnp.zeros((4, 2)))
    got = sample(denoise, schedule, sampler, UniformGrid().times(schedule, 1), x=x, key=KEY)
    np.testing.assert_array_equal(got, denoise(x, ONE).x0)


def pairs_of_rows():
    """Samplers and schedules, most of them among slow tests."""
    for sampler, schedule in itertools.product(ROWS, SCHEDULES):
        few = ("cosine",) if evaluations(ROWS[sampler]) is None else ("cosine", "ve", "flow")
        slow = schedule not in few
        pair, name = (ROWS[sampler], SCHEDULES[schedule]()), f"{schedule}-{sampler}"
        yield pytest.param(*pair, id=name, marks=[pytest.mark.slow] * slow)


@pytest.mark.parametrize(("sampler", "schedule"), list(pairs_of_rows()))
def test_steps_are_finite_on_every_schedule(sampler, schedule):
    """From the noisiest level to the middle, and at once to the least noisy one."""
    denoise, memory = ideal(sampler, schedule), sampler.init(jnp.zeros((2, 2)))
    x = prior(schedule, KEY, jnp.zeros((2, 2)))

    def step(x, t, s, memory):
        return sampler.step(denoise, schedule, x, t=t, s=s, key=KEY, memory=memory)

    if evaluations(sampler) is None:  # a loop inside is compiled anyhow: once for both steps
        step = jax.jit(step)
    for t, s in ((ONE, jnp.float32(0.5)), (jnp.float32(0.5), ZERO)):
        x, memory = step(x, t, s, memory)
        assert x.shape == (2, 2) and x.dtype == jnp.float32 and jnp.isfinite(x).all()


@pytest.mark.parametrize("name", [n for n, sampler in ROWS.items() if evaluations(sampler)])
def test_n_steps_visit_the_n_times_of_the_grid_once_each(name):
    """And each of the n - 1 steps makes as many evaluations as its sampler says."""
    schedule, seen = Linear(), []

    def denoise(x, t, s=None):
        jax.debug.callback(lambda t: seen.append(float(t)), t, ordered=True)
        return Estimate(jnp.zeros_like(x))

    run = jax.jit(
        lambda times: sample(denoise, schedule, ROWS[name], times, x=jnp.ones((1, 1)), key=KEY)
    )
    for grid in TIMESTEPS:
        times = grid_of(grid, 7).times(schedule, 7)
        jax.block_until_ready(run(times))
        jax.effects_barrier()
        assert len(seen) == 6 * evaluations(ROWS[name]) + 1
        np.testing.assert_allclose(seen[:: evaluations(ROWS[name])], times, atol=1e-7)
        seen.clear()


@dataclass(frozen=True)
class Recorder(Sampler):
    """A sampler whose x is the list of the pairs that it was called with, and its memory where."""

    def init(self, x):
        return jnp.zeros((), jnp.int32)

    def step(self, denoise, schedule, x, *, t, s, key, memory):
        here = jnp.arange(x.shape[1])[:, None] == memory
        return jnp.where(here, jnp.stack([t, s]), x), memory + 1


def same(x, t, s=None):
    return Estimate(x)


def test_the_loop_visits_each_pair_of_neighbours_once_for_every_step_count():
    @jax.jit
    def run(times):
        return integrate(same, Linear(), Recorder(), times, x=jnp.zeros((1, 50, 2)), key=KEY)

    for steps in range(1, 51):
        times = UniformGrid().times(Linear(), steps)
        pairs = np.asarray(run(times))[0]
        np.testing.assert_array_equal(pairs[: steps - 1, 0], times[:-1])
        np.testing.assert_array_equal(pairs[: steps - 1, 1], times[1:])
        assert (pairs[steps - 1 :] == 0).all()


@pytest.mark.parametrize("sampler", ROWS.values(), ids=ROWS)
def test_an_example_depends_on_its_own_key_alone(sampler):
    """Neither its noise nor its steps depend on the batch, whose conditions the denoiser holds."""
    schedule = Linear()
    denoise, times = ideal(sampler, schedule), UniformGrid().times(schedule, 10)

    @jax.jit
    def run(keys, shift):
        def shifted(x, t, s=None):
            return Estimate(denoise(x, t, s).x0 + 0.1 * shift[:, None])

        x = prior(schedule, fold_in(keys, 0), jnp.zeros((len(keys), 3)))
        return sample(shifted, schedule, sampler, times, x=x, key=fold_in(keys, 1))

    keys, shift = fold_in(KEY, jnp.arange(8)), jnp.arange(8) % 3
    elsewhere = keys.at[:5].set(fold_in(KEY, jnp.arange(20, 25))), shift.at[:5].set(7)
    np.testing.assert_allclose(run(*elsewhere)[5:], run(keys, shift)[5:], atol=1e-6)
    assert abs(run(keys, shift) - run(keys, 0 * shift))[1].max() > 0.01


def test_dynamic_clipping_keeps_small_estimates_and_scales_large_ones():
    estimates = jnp.stack([jnp.linspace(-0.5, 0.5, 201), jnp.linspace(-4.0, 4.0, 201)])

    def raw(x, t, s=None):
        return Estimate(estimates + 1)

    got = CLIPS["dynamic"](raw, jnp.array(0.0), jnp.array(2.0))(estimates, 0.5).x0 - 1
    np.testing.assert_allclose(got[0], estimates[0], atol=1e-6)
    bound = np.percentile(abs(np.asarray(estimates[1])), 99.5)
    np.testing.assert_allclose(got[1], np.clip(estimates[1], -bound, bound) / bound, atol=1e-5)
    static = CLIPS["static"](raw, 0.0, 2.0)(estimates, 0.5).x0 - 1
    np.testing.assert_allclose(static[1], np.clip(estimates[1], -1, 1), atol=1e-6)
    assert CLIPS["none"](raw, 0.0, 2.0) is raw


def test_ddim_clips_x0_and_derives_eps_from_the_clipped_one():
    schedule = Cosine()
    t, s = jnp.float32(0.8), jnp.float32(0.5)
    x = jnp.array([[3.0, -2.0]])
    raw = lambda x, t, s=None: Estimate(jnp.full_like(x, 5.0))  # noqa: E731
    got, _ = DDIM().step(clip_x0(raw, -1.0, 1.0), schedule, x, t=t, s=s, key=KEY, memory=())
    eps = (x - schedule.alpha(t) * 1.0) / schedule.sigma(t)
    np.testing.assert_allclose(got, schedule.alpha(s) * 1.0 + schedule.sigma(s) * eps, rtol=1e-5)


REFUSED = [
    (DDPM, {"variance": "medium"}, "small, large, learned"),
    (DDIM, {"eta": 2.0}, r"eta lies in \[0, 1\]"),
    (EulerAncestral, {"eta": -0.1}, r"eta lies in \[0, 1\]"),
    (DPMpp2M, {"eta": 1.1}, r"eta lies in \[0, 1\]"),
    (Heun, {"churn": -1.0}, "churn >= 0"),
    (AdamsBashforth, {"order": 5}, "1, 2, 3, 4, not 5"),
    (DEIS, {"order": 4}, "1, 2, 3, not 4"),
    (DEIS, {"variable": "sigma"}, "rho, log_rho, t"),
    (PNDM, {"warmup": "euler"}, "plms, runge_kutta"),
    (UniPC, {"order": 0}, "1, 2, 3, not 0"),
    (UniPC, {"variant": "bh3"}, "bh1, bh2"),
    (PredictorCorrector, {"predictor": "euler"}, "reverse_diffusion, ancestral"),
    (PredictorCorrector, {"snr": 0.0}, "snr > 0"),
    (PredictorCorrector, {"corrector_steps": -1}, "corrector_steps >= 0"),
    (Adaptive, {"solver": "euler"}, "tsit5, dopri5"),
    (Adaptive, {"rtol": 0.0}, "rtol > 0"),
    (Adaptive, {"max_steps": 0}, "max_steps > 0"),
]


@pytest.mark.parametrize(("cls", "settings", "answer"), REFUSED, ids=lambda v: str(v))
def test_settings_that_make_no_sense_are_refused(cls, settings, answer):
    with pytest.raises(ValueError, match=answer):
        cls(**settings)
