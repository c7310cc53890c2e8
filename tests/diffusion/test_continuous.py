"""Consistency in continuous time on Gaussian data, whose paths are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jumping import (
    FLOW,
    MEAN,
    STD,
    affine,
    deviations,
    draws,
    ending,
    exact,
    problem_of,
    slopes,
    trained,
)

from ddm_jax.diffusion.analytic import gaussian
from ddm_jax.diffusion.arrays import expand
from ddm_jax.diffusion.losses.continuous import (
    ContinuousConsistency,
    ContinuousDistillation,
    by_log_noise,
)
from ddm_jax.diffusion.losses.objectives import Uncertainty, Weighted
from ddm_jax.diffusion.predictions import denoiser
from ddm_jax.diffusion.process import diffuse
from ddm_jax.diffusion.samplers.few_step import Consistency as Sampler
from ddm_jax.diffusion.samplers.loop import sample
from ddm_jax.diffusion.schedules.continuous import ContinuousCosine
from ddm_jax.diffusion.schedules.rates import EDM

pytestmark = pytest.mark.usefixtures("quick_compilation")

ZERO = jnp.zeros(1)
KINDS = [(FLOW, "velocity"), (ContinuousCosine(), "v"), (EDM(max_sigma=5.0), "edm")]
PLAIN = 1e3  # a floor beside which tangents are small, so that each counts as much as it is long


def whole(**settings):
    """The objective after its warm-up, as after any step from the first on."""
    return ContinuousConsistency(warmup=1, **settings)


def late(batch):
    return batch._replace(step=jnp.int32(10))


@pytest.mark.parametrize(("schedule", "prediction"), KINDS)
def test_the_ends_of_a_teachers_paths_have_no_loss_and_another_map_has(schedule, prediction):
    """Example by example: along a path the exact end does not move."""
    teacher, batch = gaussian(schedule, MEAN, STD), late(draws(64, 2))
    problem = problem_of(exact(schedule, prediction, end=True), prediction)
    given = batch._replace(teacher=teacher)

    @jax.jit
    def size(params):
        objective = ContinuousDistillation(warmup=1)
        loss, parts = objective.loss(problem, params, schedule, given)
        return loss, parts["tangent"]

    loss, tangents = size(ZERO)
    assert tangents.max() < 3e-3 and loss.max() < 1e-3
    assert size(ZERO + 1.0)[1].mean() > 0.1
    with pytest.raises(ValueError, match="teacher"):
        ContinuousDistillation().loss(problem, ZERO, schedule, batch)


@pytest.mark.parametrize(("schedule", "prediction"), KINDS)
def test_the_exact_end_has_no_gradient_and_another_map_has(schedule, prediction):
    problem = problem_of(exact(schedule, prediction, end=True), prediction)
    batch = late(draws(d=4))
    found = (slopes(whole(floor=PLAIN), problem, ZERO + k, batch, schedule) for k in (0, 0.1))
    at_rest, moved = map(deviations, found)
    assert at_rest < 4 and moved > 8


def test_at_first_it_trains_the_mean_of_x0():
    """The gradient is that of the weighting's loss, times SNR / (1 + SNR) / floor."""
    problem, batch = problem_of(exact()), draws(16, 2)
    few = slopes(ContinuousConsistency(floor=PLAIN), problem, ZERO + 0.4, batch)
    plain = slopes(Weighted(), problem, ZERO + 0.4, batch)
    share = jax.nn.sigmoid(FLOW.logsnr(batch.t)) / PLAIN
    np.testing.assert_allclose(few, share * plain, rtol=5e-3, atol=2e-6)


def test_half_way_through_the_warm_up_it_is_between_the_two():
    problem, batch = problem_of(exact()), draws(16, 2)
    half = ContinuousConsistency(warmup=20, floor=PLAIN)
    at = [
        slopes(half, problem, ZERO + 0.4, batch._replace(step=jnp.int32(k)))
        for k in (0, 10, 20, 99)
    ]
    np.testing.assert_allclose(at[1], (at[0] + at[2]) / 2, rtol=5e-3, atol=2e-6)
    np.testing.assert_array_equal(at[2], at[3])


@pytest.mark.parametrize(("schedule", "prediction"), KINDS)
def test_the_slope_is_the_limit_of_what_neighbours_differ_by(schedule, prediction):
    """Of the pair x_t, x_s of a discrete consistency model, with the same noise."""
    problem = problem_of(exact(schedule, prediction), prediction)
    batch = draws(32, 2, low=0.2, high=0.8)
    x_t = diffuse(schedule, batch.x0, batch.eps, batch.t)

    def estimate(x, t):
        return problem.predict(ZERO + 0.3, schedule, x, t=t, context=batch.context).estimate.x0

    @jax.jit
    def both():
        slope = jax.jvp(estimate, (x_t, batch.t), by_log_noise(schedule, x_t, batch.x0, batch.t))[1]
        ends = (
            estimate(diffuse(schedule, batch.x0, batch.eps, s), s)
            for s in (batch.t - 0.01, batch.t + 0.01)
        )
        before, after = ends
        noise = 0.5 * (schedule.logsnr(batch.t - 0.01) - schedule.logsnr(batch.t + 0.01))
        return slope, (after - before) / expand(noise, x_t)

    np.testing.assert_allclose(*both(), rtol=2e-2, atol=5e-3)


def test_on_the_circle_it_is_the_published_loss():
    """Its g = cos(a) df/da with sigma_d = 1, worked out by hand for F = k x on x = cos x0 + sin z.

    f = cos x - sin F and df/da = -sin x + cos dx/da - cos F - sin dF/da.
    """
    schedule, k = ContinuousCosine(), 0.7
    batch = late(draws(16, 3))

    def net(params, x, noise_cond, context, keys=None):
        return params[0] * x

    problem = problem_of(net, "v")
    loss = whole().loss(problem, ZERO + k, schedule, batch)[0]
    cos, sin = (expand(rate(batch.t), batch.x0) for rate in (schedule.alpha, schedule.sigma))
    x, dx = cos * batch.x0 + sin * batch.eps, cos * batch.eps - sin * batch.x0
    g = cos * (-sin * x + cos * dx - cos * k * x - sin * k * dx)
    g = g / (jnp.sqrt((g**2).mean(1, keepdims=True)) + 0.1)
    np.testing.assert_allclose(loss, (g**2).mean(1), rtol=1e-3)


def test_the_aim_is_held_and_a_long_tangent_counts_as_one():
    problem, batch = problem_of(exact(end=True)), late(draws(64, 2))
    loss, parts = whole(floor=0.1).loss(problem, ZERO + 5.0, FLOW, batch)
    size = parts["tangent"]
    np.testing.assert_allclose(loss, (size / (size + 0.1)) ** 2, rtol=1e-3)

    def net(params, x, noise_cond, context, keys=None):
        return params[0] * x

    def mean(params):
        return whole(floor=PLAIN).loss(problem_of(net), params, FLOW, batch)[0].mean() * PLAIN

    t = batch.t[:, None]
    x_t, along = diffuse(FLOW, batch.x0, batch.eps, batch.t), batch.eps - batch.x0
    pace = by_log_noise(FLOW, x_t, batch.x0, batch.t)[1][:, None]
    slope = pace * (along - 0.2 * x_t - FLOW.sigma(t) * 0.2 * along)
    g = slope / -FLOW.sigma(t)
    np.testing.assert_allclose(
        jax.grad(mean)(ZERO + 0.2)[0], (2 * g * x_t).mean(), rtol=2e-2, atol=1e-4
    )


def test_training_finds_the_ends():
    """F = a(t) x + b(t) of a small network: one evaluation draws the data."""
    params = trained(ContinuousConsistency(warmup=300, floor=1.0))
    found = denoiser(affine, params, problem_of(affine).parameterisation(FLOW))
    x = jnp.linspace(-2, 2, 9)[:, None]
    ends = sample(found, FLOW, Sampler(), jnp.array([1.0]), x=x, key=jax.random.key(0))
    np.testing.assert_allclose(ends, ending(FLOW, x, jnp.ones(9)), atol=0.08)


def test_the_learned_weighting_starts_flat_and_divides_each_level_by_its_own_loss():
    """d/du (e^-u L + u) = 1 - e^-u L, so that u = log L has no gradient."""
    objective, batch = whole(floor=PLAIN, features=32), late(draws(64, 2))
    problem = problem_of(exact())
    params = objective.init_params(jax.random.key(0))
    plain, parts = objective.loss(problem, ZERO + 0.4, FLOW, batch)

    def balanced(params):
        return objective.with_params(params).loss(problem, ZERO + 0.4, FLOW, batch)

    first, told = balanced(params)
    np.testing.assert_array_equal(first, plain)
    np.testing.assert_array_equal(told["loss_weighted"], plain)
    np.testing.assert_array_equal(told["tangent"], parts["tangent"])
    moved = jax.random.normal(jax.random.key(1), params.shape)
    u = Uncertainty(32).with_params(moved).log_loss(FLOW.logsnr(batch.t))
    np.testing.assert_allclose(balanced(moved)[0], jnp.exp(-u) * plain + u, rtol=1e-5)
    slope = jax.grad(lambda p: balanced(p)[0].sum())(moved)
    waves = jax.jacobian(lambda p: Uncertainty(32).with_params(p).log_loss(FLOW.logsnr(batch.t)))(
        moved
    )
    np.testing.assert_allclose(slope, (1 - jnp.exp(-u) * plain) @ waves, rtol=1e-3, atol=1e-4)


def test_the_end_of_a_teachers_paths_is_balanced_too():
    objective = ContinuousDistillation(warmup=1, features=8)
    balanced = objective.with_params(objective.init_params(jax.random.key(0)))
    given = late(draws(16, 2))._replace(teacher=gaussian(FLOW, MEAN, STD))
    problem = problem_of(exact(end=True))
    assert balanced.loss(problem, ZERO, FLOW, given)[0].max() < 1e-3


def test_refusals():
    for wrong in ({"warmup": 0}, {"floor": 0.0}, {"features": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ContinuousConsistency(**wrong)
