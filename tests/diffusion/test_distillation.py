"""Learning from a teacher: the loss on its estimate, and what it has in common with that on x_0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.diffusion.analytic import gaussian
from ddm_jax.diffusion.conditions import NO_CONTEXT
from ddm_jax.diffusion.losses.distillation import Teacher
from ddm_jax.diffusion.losses.noised import NoisedBatch, Problem
from ddm_jax.diffusion.losses.objectives import Weighted
from ddm_jax.diffusion.losses.weightings import Simple
from ddm_jax.diffusion.noise_conds import LogSNR
from ddm_jax.diffusion.predictions import PREDICTIONS, denoiser
from ddm_jax.diffusion.process import Estimate, diffuse
from ddm_jax.diffusion.schedules.discrete import Cosine

pytestmark = pytest.mark.usefixtures("quick_compilation")

SCHEDULE, MEAN, STD = Cosine(), 0.2, 0.7


def net(params, x, noise_cond, context, keys):
    return params[0] * x + params[1] * jnp.tanh(noise_cond[:, None] / 5)


PARAMS = jnp.array([0.4, 0.3])


def problem_of(name):
    return Problem(net, PREDICTIONS[name](), LogSNR(), Simple("x0"))


def batch(count=512, d=2):
    of_x0, of_eps, of_t = jax.random.split(jax.random.key(0), 3)
    x0 = MEAN + STD * jax.random.normal(of_x0, (count, d))
    t = jax.random.uniform(of_t, (count,), minval=0.1, maxval=0.9)
    return NoisedBatch(x0, jax.random.normal(of_eps, x0.shape), t, NO_CONTEXT, None)


def loss_of(objective, name, params, draw):
    return objective.loss(problem_of(name), params, SCHEDULE, draw)[0]


@pytest.mark.parametrize("name", PREDICTIONS)
def test_it_is_the_distance_between_the_two_estimates(name):
    draw, teacher = batch(), gaussian(SCHEDULE, MEAN, STD)
    problem = problem_of(name)
    student = denoiser(net, PARAMS, problem.parameterisation(SCHEDULE))
    x_t = diffuse(SCHEDULE, draw.x0, draw.eps, draw.t)
    away = student(x_t, draw.t).x0 - teacher(x_t, draw.t).x0
    got = loss_of(Teacher(), name, PARAMS, draw._replace(teacher=teacher))
    np.testing.assert_allclose(got, (away**2).mean(1), rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["eps", "v"])
def test_a_student_that_is_its_teacher_has_no_loss(name):
    problem = problem_of(name)
    same = denoiser(net, PARAMS, problem.parameterisation(SCHEDULE))
    assert loss_of(Teacher(), name, PARAMS, batch()._replace(teacher=same)).max() < 1e-9


def test_the_teacher_is_held():
    """No gradient flows into it, though it may have the student's own parameters."""
    problem = problem_of("v")

    def mean(params):
        own = denoiser(net, params, problem.parameterisation(SCHEDULE))
        far = lambda x_t, t, s=None: Estimate(own(x_t, t).x0 + 1)  # noqa: E731
        return loss_of(Teacher(), "v", params, batch()._replace(teacher=far)).mean()

    assert abs(jax.grad(mean)(PARAMS)).max() > 0.1


def test_a_teacher_that_knows_the_mean_gives_the_gradient_of_the_loss_on_x0_with_less_noise():
    """E[x_0 | x_t] in place of x_0: equal on average over x_0 given x_t, and of less variance."""
    draw = batch(40_000)
    told = draw._replace(teacher=gaussian(SCHEDULE, MEAN, STD))

    def gradients(objective, draw):
        def one(params, x0, eps, t):
            few = draw._replace(x0=x0[None], eps=eps[None], t=t[None])
            return loss_of(objective, "x0", params, few)[0]

        return jax.jit(jax.vmap(jax.grad(one), (None, 0, 0, 0)))(PARAMS, draw.x0, draw.eps, draw.t)

    plain, taught = gradients(Weighted(), draw), gradients(Teacher(), told)
    error = 4 * np.asarray(plain - taught).std(0) / np.sqrt(len(plain))
    assert (abs(np.asarray(plain.mean(0) - taught.mean(0))) < error).all()
    assert (taught.var(0) < 0.5 * plain.var(0)).all()
