"""Mean flows on Gaussian data, whose flow is known: aims, gradients, what is learnt, and jumps."""

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

from ddm_jax.diffusion.analytic import gaussian, gaussian_flow
from ddm_jax.diffusion.arrays import expand
from ddm_jax.diffusion.combining import extrapolate
from ddm_jax.diffusion.conditions import NO_CONTEXT, Context
from ddm_jax.diffusion.losses.mean_flow import (
    ImprovedMeanFlow,
    MeanFlow,
    jump_target,
    second_time,
    tangent,
)
from ddm_jax.diffusion.losses.objectives import Weighted
from ddm_jax.diffusion.noise_conds import Time
from ddm_jax.diffusion.predictions import PREDICTIONS, Parameterisation, denoiser, predict
from ddm_jax.diffusion.process import diffuse, noise_of, probability_flow
from ddm_jax.diffusion.samplers.loop import integrate, sample
from ddm_jax.diffusion.samplers.one_step import DDIM
from ddm_jax.diffusion.schedules.continuous import ContinuousCosine
from ddm_jax.diffusion.schedules.rates import EDM, Flow

pytestmark = pytest.mark.usefixtures("quick_compilation")

ZERO = jnp.zeros(1)
BOTH = pytest.mark.parametrize("kind", [MeanFlow, ImprovedMeanFlow])


@pytest.mark.parametrize(
    ("schedule", "prediction"),
    [
        (Flow(), "velocity"),
        (Flow(), "x0"),
        (ContinuousCosine(), "eps"),
        (EDM(max_sigma=5.0), "edm"),
    ],
)
def test_the_flow_is_its_own_aim(schedule, prediction):
    """Told the mean of x_0 and of dx_t/dt, the aim at the exact F is that F."""
    row, net = PREDICTIONS[prediction](), exact(schedule, prediction)
    batch = draws(64, 2)
    t, s = batch.t, batch.t * jnp.linspace(0, 0.9, 64)
    x_t = diffuse(schedule, batch.x0, batch.eps, t)

    @jax.jit
    def found():
        def f(x, t):
            return predict(net, ZERO, Parameterisation(schedule, row, Time()), x, t=t, s=s).f

        x0 = gaussian(schedule, MEAN, STD)(x_t, t).x0
        along = tangent(schedule, x_t, x0, t)
        out, slope = jax.jvp(f, (x_t, t), (along, jnp.ones_like(t)))
        return out, jump_target(schedule, row, x_t, t=t, s=s, x0=x0, along=along, f=slope)

    out, aim = found()
    np.testing.assert_allclose(aim, out, rtol=2e-2, atol=2e-3)


def test_the_tangent_of_the_mean_is_the_probability_flow():
    """dx_t/dt by another route: z = x_t / sqrt(alpha^2 + sigma^2) and its ODE in log-SNR."""
    batch = draws(16, 2)
    denoise = gaussian(FLOW, MEAN, STD)

    def x_of(half, z):
        t = FLOW.time(2 * half)
        return expand(jnp.sqrt(FLOW.alpha(t) ** 2 + FLOW.sigma(t) ** 2), z) * z

    @jax.jit
    def both():
        x_t = diffuse(FLOW, batch.x0, batch.eps, batch.t)
        here = tangent(FLOW, x_t, denoise(x_t, batch.t).x0, batch.t)
        half, pace = jax.jvp(lambda t: 0.5 * FLOW.logsnr(t), (batch.t,), (jnp.ones(16),))
        z = x_t / x_of(half, jnp.ones_like(x_t))
        dz = probability_flow(denoise, FLOW, z, half)
        there = jax.jvp(x_of, (half, z), (jnp.ones(16), dz))[1]
        return here, expand(pace, x_t) * there

    np.testing.assert_allclose(*both(), rtol=2e-3, atol=2e-3)


@BOTH
def test_the_flow_has_no_gradient_and_another_map_has(kind):
    objective, problem, batch = kind(), problem_of(exact()), draws(d=4)
    assert deviations(slopes(objective, problem, ZERO, batch)) < 4
    assert deviations(slopes(objective, problem, ZERO + 0.1, batch)) > 8


@BOTH
def test_a_map_that_takes_the_mean_for_the_end_of_each_jump_is_not_at_rest(kind):
    """The mean alone, whatever s is, is what a network of one time learns."""
    net = exact()

    def still(params, x, noise_cond, context, keys=None):
        return net(params, x, noise_cond, Context(gap=0 * context.gap))

    apart = kind(apart=1.0)
    assert deviations(slopes(apart, problem_of(still), ZERO, draws())) > 6


@BOTH
def test_with_both_times_alike_it_is_the_loss_of_the_weighting(kind):
    batch, problem = draws(32, 2), problem_of(exact(), space="x0")
    few = kind(apart=1e-6, power=0.0)
    got = few.loss(problem, ZERO + 0.2, FLOW, batch)[0]
    one = problem_of(exact(), space="x0")
    np.testing.assert_allclose(got, Weighted().loss(one, ZERO + 0.2, FLOW, batch)[0], rtol=1e-4)


def test_what_an_example_decides_of_the_improved_aim_is_its_velocity_whatever_the_jump():
    """So the network does not magnify it, as it does in the aim of mean flows."""
    first, problem = draws(64, 2), problem_of(exact())
    s = first.t * jnp.linspace(0, 0.9, 64)
    x_t = diffuse(FLOW, first.x0, first.eps, first.t)
    x0 = first.x0 + jax.random.normal(jax.random.key(5), x_t.shape)
    eps = noise_of(FLOW, x_t, x0, first.t)
    other = first._replace(x0=x0, eps=eps)  # at the same x_t
    velocity = (other.eps - other.x0) - (first.eps - first.x0)

    def apart(kind):
        @jax.jit
        def aims(batch):
            return kind().aimed(problem, ZERO, FLOW, batch, s=s).target

        return aims(other) - aims(first)

    np.testing.assert_allclose(apart(ImprovedMeanFlow), velocity, rtol=1e-3, atol=2e-3)
    assert abs(apart(MeanFlow) - velocity).max() > 0.5


def test_second_times_lie_below_the_first_and_are_apart_as_often_as_asked():
    batch = draws()
    s = second_time(batch, 0.3)
    assert ((s >= 0) & (s <= batch.t)).all()
    assert float((s < batch.t).mean()) == pytest.approx(0.3, abs=0.015)
    assert float((s / batch.t)[s < batch.t].mean()) == pytest.approx(0.5, abs=0.02)


@BOTH
def test_training_finds_the_flow(kind):
    """F = a(t, s) x + b(t, s), a and b of a small network: one jump from noise is the exact one."""
    form = problem_of(affine).parameterisation(FLOW)
    jump = denoiser(affine, trained(kind(power=0.5)), form, two_times=True)
    x = jnp.linspace(-2, 2, 9)[:, None]
    for times in ([1.0], [1.0, 0.5]):
        found = sample(jump, FLOW, DDIM(), jnp.array(times), x=x, key=jax.random.key(0))
        np.testing.assert_allclose(found, ending(FLOW, x, jnp.ones(9)), atol=0.06)
    still = jump(x, jnp.ones(9), None).x0  # at s = t, the mean
    np.testing.assert_allclose(still, gaussian(FLOW, MEAN, STD)(x, jnp.ones(9)).x0, atol=0.06)


@pytest.mark.parametrize("prediction", ["velocity", "x0"])
def test_jumps_compose(prediction):
    """t -> s -> r is t -> r, and both are the flow, by DDIM steps of the denoiser of two times."""
    form = Parameterisation(FLOW, PREDICTIONS[prediction](), Time())
    key, net = jax.random.key(0), exact(FLOW, prediction)
    jump = denoiser(net, ZERO, form, two_times=True)
    x = jnp.linspace(-2, 2, 8)[:, None]
    flow = gaussian_flow(FLOW, MEAN, STD, x, t=jnp.float32(0.9), s=jnp.float32(0.1))
    for times in ([0.9, 0.1], [0.9, 0.5, 0.1], [0.9, 0.8, 0.3, 0.1]):
        found = integrate(jump, FLOW, DDIM(), jnp.array(times), x=x, key=key)
        np.testing.assert_allclose(found, flow, atol=1e-4)
    other = denoiser(net, ZERO, form)
    found = integrate(other, FLOW, DDIM(), jnp.array([0.9, 0.1]), x=x, key=key)
    assert abs(found - flow).max() > 0.1


def test_guidance_moves_the_mean_as_guided_sampling_does():
    """On average over x_0, the aim is u + w (c - u) for examples that have their condition."""
    net = exact()

    def told(params, x, noise_cond, context, keys=None):
        return net(params, x, noise_cond, context) + context.vector

    t = jnp.linspace(0.1, 1, 6)
    x_t = jax.random.normal(jax.random.key(1), (6, 2))
    null, there = Context(jnp.full((6, 2), 0.3)), jnp.arange(6) % 2 == 0
    problem = problem_of(told)
    form = problem.parameterisation(FLOW)
    c, u = (
        predict(told, ZERO, form, x_t, t=t, context=context, s=t).estimate.x0
        for context in (Context(jnp.full((6, 2), -0.2)), null)
    )
    batch = draws(6, 2)._replace(x0=c, t=t, null=null, told=there)
    got = MeanFlow(guidance=2.5).guided(problem, ZERO, FLOW, batch, x_t=x_t)
    want = jnp.where(there[:, None], extrapolate(c, u, 2.5), c)
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert not MeanFlow().asks_null and MeanFlow(guidance=2.0).asks_null
    assert batch.context == NO_CONTEXT


def test_refusals():
    for settings in ({"apart": 0.0}, {"apart": 1.5}, {"power": -1.0}, {"floor": 0.0}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            MeanFlow(**settings)
