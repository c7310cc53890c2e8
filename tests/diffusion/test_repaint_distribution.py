"""The conditional law that RePaint reaches on a correlated Gaussian, and how it gets there."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import KEY

from ddm_jax.diffusion.analytic import correlated
from ddm_jax.diffusion.arrays import fold_in
from ddm_jax.diffusion.editing.repaint import Repaint, repaint_times
from ddm_jax.diffusion.samplers.exponential import DPMpp2M
from ddm_jax.diffusion.samplers.loop import prior, sample
from ddm_jax.diffusion.samplers.one_step import DDIM, DDPM, Heun
from ddm_jax.diffusion.samplers.timesteps import UniformGrid
from ddm_jax.diffusion.schedules.discrete import Cosine

FIRST = jnp.array([True, False])
OTHERS = (DPMpp2M(1.0), DDIM(1.0), Heun(churn=0.3))


@functools.cache
def second_given_the_first(sampler, rounds):
    """(mean, deviation) of the second of two elements of correlation 0.8, the first being 1."""
    schedule, count = Cosine(), 10_000
    denoise = correlated(schedule, jnp.zeros(2), jnp.array([[1.0, 0.8], [0.8, 1.0]]))
    times = repaint_times(UniformGrid().times(schedule, 200), rounds, 10)

    @jax.jit
    def run(known, key):
        x = prior(schedule, fold_in(key, 0), known)
        held = Repaint(sampler, known, FIRST)
        return sample(denoise, schedule, held, times, x=x, key=fold_in(key, 1))

    second = np.asarray(run(jnp.ones((count, 2)), KEY))[:, 1]
    return second.mean(), second.std()


@pytest.mark.parametrize(
    "sampler",
    [DDPM(), *(pytest.param(s, marks=pytest.mark.slow) for s in OTHERS)],
    ids=repr,
)
def test_twenty_rounds_reach_the_conditional_law(sampler):
    """x_2 given x_1 = 1 is N(0.8, 1 - 0.8^2)."""
    mean, deviation = second_given_the_first(sampler, 20)
    assert mean == pytest.approx(0.8, abs=0.03)
    assert deviation == pytest.approx(0.6, abs=0.05)


@pytest.mark.slow
def test_more_rounds_come_nearer_and_one_is_half_way():
    """One round, which overwrites what is known and no more, moves the mean by 0.5 of 0.8."""
    means = [second_given_the_first(DDPM(), rounds)[0] for rounds in (1, 5, 20)]
    np.testing.assert_allclose(means, [0.5, 0.73, 0.79], atol=0.03)
    assert means[0] < means[1] - 0.1 and means[1] < means[2] - 0.02
