"""Consistency models on Gaussian data, whose paths are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jumping import FLOW, MEAN, STD, deviations, draws, ending, exact, problem_of, slopes

from ddm_jax.diffusion.analytic import gaussian
from ddm_jax.diffusion.losses.consistency import Consistency, ConsistencyDistillation
from ddm_jax.diffusion.losses.objectives import Weighted
from ddm_jax.diffusion.predictions import denoiser
from ddm_jax.diffusion.samplers.few_step import Consistency as Sampler
from ddm_jax.diffusion.samplers.loop import sample

pytestmark = pytest.mark.usefixtures("quick_compilation")

ZERO = jnp.zeros(1)


def gains(segments):
    """(gain (N,), mean weight (N,)) of x0_hat(x_k) = gain x_k + weight MEAN at t = k / N, k from 1,
    where each is the regression of the one below it on x_k, and the first that of x_0.

    x_j and x_k share x_0 and eps: Cov = alpha_j alpha_k s^2 + sigma_j sigma_k.
    """
    t = np.arange(segments + 1) / segments
    alpha, sigma = np.asarray(FLOW.alpha(t), float), np.asarray(FLOW.sigma(t), float)
    alpha[0], sigma[0] = 1.0, 0.0  # the aim of the first is x_0 itself
    gain, weight, found = 1.0, 0.0, []
    for k in range(1, segments + 1):
        shared = alpha[k - 1] * alpha[k] * STD**2 + sigma[k - 1] * sigma[k]
        share = shared / (alpha[k] ** 2 * STD**2 + sigma[k] ** 2)
        weight = weight + gain * (alpha[k - 1] - share * alpha[k])
        gain = gain * share
        found.append((gain, weight))
    return np.array(found).T


def stepwise(segments):
    """F of `gains`, exact at the times k / N, moved by params[0] tanh(x)."""
    gain, weight = map(jnp.asarray, gains(segments))

    def net(params, x, noise_cond, context, keys=None):
        k = jnp.clip(jnp.round(noise_cond * segments).astype(int) - 1, 0, segments - 1)
        x0 = gain[k][:, None] * x + weight[k][:, None] * MEAN
        return (x - x0) / FLOW.sigma(noise_cond)[:, None] + params[0] * jnp.tanh(x)

    return net


def levels(segments, count=20_000):
    """Draws at times k / N."""
    batch = draws(count, d=4)
    return batch._replace(t=(jnp.arange(count) % segments + 1) / segments)


@pytest.mark.parametrize("segments", [1, 6])
def test_a_chain_of_regressions_has_no_gradient_and_another_map_has(segments):
    objective, problem = Consistency(segments, segments), problem_of(stepwise(segments))
    batch = levels(segments)
    assert deviations(slopes(objective, problem, ZERO, batch)) < 4
    assert deviations(slopes(objective, problem, ZERO + 0.1, batch)) > 8


def test_the_chain_ends_where_paths_do_as_it_gets_finer():
    """Of N segments the error is of order 1 / N, from the mean of x_0 at N = 1 on."""
    x = jnp.linspace(-2, 2, 5)
    end = np.asarray(ending(FLOW, x, jnp.ones(5)))
    first, *errors = (
        abs(gain[-1] * x + weight[-1] * MEAN - end).max()
        for gain, weight in map(gains, (1, 64, 256))
    )
    assert first > 0.5 and errors[0] < 0.1
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.2)


def test_with_one_segment_it_is_the_loss_of_the_mean():
    batch, problem = draws(64, 3), problem_of(exact())
    loss, parts = Consistency(first=1, huber=0.3).loss(problem, ZERO + 0.3, FLOW, batch)
    plain = Weighted().loss(problem, ZERO + 0.3, FLOW, batch)[0]
    np.testing.assert_allclose(parts["loss_error"], plain, rtol=1e-3)
    np.testing.assert_allclose(loss, np.hypot(np.sqrt(plain), 0.3) - 0.3, rtol=1e-3, atol=1e-5)


def test_a_distilled_end_of_the_teachers_paths_has_no_loss_and_another_map_has():
    """Pair by pair, up to the error of Heun's steps, where the pair's own noise plays no part."""
    teacher, batch = gaussian(FLOW, MEAN, STD), draws(64, 2, low=0.05)
    problem = problem_of(exact(end=True), space="x0")

    def error(segments, params):
        objective = ConsistencyDistillation(segments, segments)
        given = batch._replace(teacher=teacher, t=jnp.maximum(batch.t, 1.01 / segments))
        return objective.loss(problem, params, FLOW, given)[1]["loss_error"].max()

    assert error(40, ZERO) < 1e-5
    assert error(40, ZERO + 1.0) > 1e-4
    assert error(20, ZERO) > 8 * error(40, ZERO)
    with pytest.raises(ValueError, match="teacher"):
        ConsistencyDistillation().loss(problem, ZERO, FLOW, batch)


def test_a_distilled_last_step_is_the_teachers():
    teacher, batch = gaussian(FLOW, MEAN, STD), draws(64, 2, high=0.05)
    problem = problem_of(exact(), space="x0")  # without a gap it knows the mean, as the teacher
    given = batch._replace(teacher=teacher)
    error = ConsistencyDistillation().loss(problem, ZERO, FLOW, given)[1]["loss_error"]
    assert error.max() < 1e-9


def test_the_aim_is_held_and_both_passes_have_one_dropout():
    """The gradient is that of the first pass alone, and the keys of both are the same."""
    seen = []

    def net(params, x, noise_cond, context, keys=None):
        seen.append(keys)
        return params[0] * x

    batch = draws(8, 2, low=0.5)
    batch = batch._replace(keys=batch.own)
    problem = problem_of(net, space="x0")

    def error(params):
        return Consistency().loss(problem, params, FLOW, batch)[1]["loss_error"].mean()

    found = jax.grad(error)(ZERO + 0.2)
    assert len(seen) == 2 and all(keys is batch.keys for keys in seen)
    t, s = batch.t[:, None], batch.t[:, None] - 0.1
    u, v = FLOW.sigma(t), FLOW.sigma(s)
    x, y = (FLOW.alpha(r) * batch.x0 + FLOW.sigma(r) * batch.eps for r in (t, s))
    away = (x - u * 0.2 * x) - (y - v * 0.2 * y)
    np.testing.assert_allclose(found[0], (2 * away * -u * x).mean(), rtol=1e-3)


def test_segments_double_up_to_the_last():
    objective = Consistency(first=3, last=40, every=100)
    found = [float(objective.segments(jnp.int32(k))) for k in (0, 99, 100, 250, 399, 400, 10**9)]
    assert found == [3, 3, 6, 12, 24, 40, 40]


def test_one_and_two_evaluations_draw_the_data():
    """The sampler of these models on the exact ends: any number of steps keeps the distribution."""
    problem = problem_of(exact(end=True))
    denoise = denoiser(problem.net, ZERO, problem.parameterisation(FLOW))
    noise = jax.random.normal(jax.random.key(0), (20_000, 1))
    for times in ([1.0], [1.0, 0.5]):
        x = sample(denoise, FLOW, Sampler(), jnp.array(times), x=noise, key=jax.random.key(1))
        assert float(x.mean()) == pytest.approx(MEAN, abs=0.02)
        assert float(x.std()) == pytest.approx(STD, abs=0.02)


def test_refusals():
    for wrong in ({"first": 0}, {"first": 9, "last": 8}, {"every": 0}, {"huber": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Consistency(**wrong)
