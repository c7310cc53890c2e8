"""Steps that do what two did, on Gaussian data and against samplers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jumping import FLOW, MEAN, STD, deviations, draws, exact, problem_of, slopes

from ddm_jax.diffusion.analytic import gaussian
from ddm_jax.diffusion.arrays import expand
from ddm_jax.diffusion.losses.halving import (
    Progressive,
    Shortcut,
    draw_jumps,
    share_of_first,
    two_steps,
)
from ddm_jax.diffusion.losses.noised import predict_noised
from ddm_jax.diffusion.losses.objectives import Weighted
from ddm_jax.diffusion.process import Estimate, diffuse
from ddm_jax.diffusion.samplers.base import exponential_step
from ddm_jax.diffusion.samplers.loop import integrate, sample
from ddm_jax.diffusion.samplers.one_step import DDIM
from ddm_jax.diffusion.schedules.discrete import Cosine
from ddm_jax.diffusion.schedules.rates import EDM

pytestmark = pytest.mark.usefixtures("quick_compilation")

ZERO = jnp.zeros(1)


@pytest.mark.parametrize("schedule", [FLOW, Cosine(), EDM()], ids=lambda s: type(s).__name__)
def test_one_step_by_the_mixed_estimate_is_the_two(schedule):
    t, m, s = (jnp.full(4, u) for u in (0.8, 0.55, 0.3))
    x_t = diffuse(schedule, *jax.random.normal(jax.random.key(0), (2, 4, 3)), t)
    denoise = gaussian(schedule, MEAN, STD)
    first, second = two_steps(denoise, schedule, x_t, t=t, m=m, s=s)
    share = share_of_first(schedule, t, m, s)[:, None]
    one = exponential_step(schedule, x_t, share * first + (1 - share) * second, t=t, s=s)
    two = integrate(
        denoise, schedule, DDIM(), jnp.array([0.8, 0.55, 0.3]), x=x_t, key=jax.random.key(0)
    )
    np.testing.assert_allclose(one, two, rtol=2e-4, atol=2e-5)
    assert (share_of_first(schedule, t, t, t) == 0).all()


def aim_of(objective, batch):
    """The x_0 (B, ...) at which the objective has no loss.

    The loss is |F - aim|^2 of a network F = params, so a step down its gradient leads there.
    """

    def constant(params, x, noise_cond, context, keys=None):
        return params

    def total(f):
        return objective.loss(problem_of(constant), f, FLOW, batch)[0].sum()

    start = jnp.zeros_like(batch.x0)
    f = start - jax.grad(total)(start) * start.shape[1] / 2
    x_t = diffuse(FLOW, batch.x0, batch.eps, batch.t)
    return x_t - expand(FLOW.sigma(batch.t), x_t) * f


@pytest.mark.parametrize("steps", [1, 4])
def test_a_student_of_n_steps_samples_as_its_teacher_does_in_two_n(steps):
    teacher, grid = gaussian(FLOW, MEAN, STD), lambda n: 1 - jnp.arange(n) / n
    noise = jax.random.normal(jax.random.key(2), (3, 2))
    expected = sample(teacher, FLOW, DDIM(), grid(2 * steps), x=noise, key=jax.random.key(0))

    def student(x_t, t, s=None):
        t = jnp.broadcast_to(t, (3,))
        eps = x_t / expand(FLOW.sigma(t), x_t)  # with x_0 = 0 a pair that gives x_t
        batch = draws(3, 2)._replace(x0=jnp.zeros_like(x_t), eps=eps, t=t, teacher=teacher)
        return Estimate(aim_of(Progressive(steps), batch))

    found = sample(student, FLOW, DDIM(), grid(steps), x=noise, key=jax.random.key(0))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_its_times_are_the_next_ones_of_the_students_grid():
    seen = []

    def teacher(x_t, t, s=None):
        seen.append((t, s))
        return Estimate(x_t)

    batch = draws(4, 2)._replace(t=jnp.array([0.0, 0.2, 0.25, 0.9]), teacher=teacher)
    Progressive(4).loss(problem_of(exact()), ZERO, FLOW, batch)
    (t, m), (again, s) = seen
    np.testing.assert_allclose(t, [0.25, 0.25, 0.25, 1.0])
    np.testing.assert_allclose(m, t - 0.125)
    assert (again == m).all()
    np.testing.assert_allclose(s, t - 0.25)


def test_the_flow_is_at_rest_under_shortcuts_and_another_map_is_not():
    """Exact jumps have no gradient beyond the error of the shortest, which is told no length."""
    problem, batch = problem_of(exact()), draws(d=2)
    objective = Shortcut(apart=0.5, levels=7)
    assert deviations(slopes(objective, problem, ZERO, batch)) < 4
    assert deviations(slopes(objective, problem, ZERO + 0.1, batch)) > 8


def test_exact_jumps_are_what_their_halves_make():
    """Example by example: jumps above the shortest have no loss, others that of the mean."""
    problem, batch = problem_of(exact(), space="x0"), draws(400, 2)
    objective = Shortcut(apart=0.5, levels=3)
    jumps, level = draw_jumps(batch.own, 0.5, 3)
    loss = objective.loss(problem, ZERO, FLOW, batch)[0]
    assert set(np.asarray(level).tolist()) == {0, 1, 2, 3} and 150 < int(jumps.sum()) < 250
    assert loss[jumps & (level < 3)].max() < 1e-8
    assert loss[jumps & (level == 3)].min() > 1e-8
    plain = Weighted().loss(problem, ZERO, FLOW, batch)[0]
    np.testing.assert_allclose(loss[~jumps], plain[~jumps], rtol=1e-3)


def test_jumps_go_down_the_grid_of_their_length_and_are_parted_half_way():
    seen, known = [], exact()

    def net(params, x, noise_cond, context, keys=None):
        seen.append((noise_cond, noise_cond - context.gap))
        return known(params, x, noise_cond, context)

    batch = draws(200, 1)
    Shortcut(apart=1.0, levels=4).loss(problem_of(net), ZERO, FLOW, batch)
    (t, s), (again, middle), (m, end) = seen
    _, level = draw_jumps(batch.own, 1.0, 4)
    np.testing.assert_allclose(t - s, 2.0**-level, atol=1e-6)
    np.testing.assert_allclose(t * 2**level, np.ceil(batch.t * 2**level), atol=1e-5)
    np.testing.assert_allclose(m, (t + s) / 2, atol=1e-6)
    assert (again == t).all() and s.min() == 0 and t.max() == 1
    least = level == 4
    np.testing.assert_allclose(middle, jnp.where(least, t, m), atol=1e-6)
    np.testing.assert_allclose(end, jnp.where(least, m, s), atol=1e-6)


def test_the_half_jumps_are_held():
    problem, batch = problem_of(exact(), space="x0"), draws(16, 2)
    objective = Shortcut(apart=1.0, levels=1)
    p = ZERO + 0.4

    def error(params):
        return objective.loss(problem, params, FLOW, batch)[0].sum()

    found = jax.grad(error)(p)[0]
    ahead, behind = (
        predict_noised(problem, p + h, FLOW, batch, s=batch.t).estimate.x0 for h in (0.01, -0.01)
    )
    assert abs(ahead - behind).max() > 0 and jnp.isfinite(found)
    whole = (error(p + 1e-2) - error(p - 1e-2)) / 2e-2
    assert abs(float(found - whole)) > 0.05 * abs(float(whole))  # of all passes it would be this


def test_refusals():
    batch = draws(4, 2)
    with pytest.raises(ValueError, match="teacher"):
        Progressive().loss(problem_of(exact()), ZERO, FLOW, batch)
    with pytest.raises(ValueError, match="steps"):
        Progressive(steps=0)
    for wrong in ({"apart": 0.0}, {"levels": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Shortcut(**wrong)
