"""Laws of every row of OBJECTIVES, on networks known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddm_jax.diffusion.analytic import gaussian
from ddm_jax.diffusion.arrays import normal_like
from ddm_jax.diffusion.conditions import NO_CONTEXT, Context
from ddm_jax.diffusion.likelihood.vlb import vlb
from ddm_jax.diffusion.losses.noised import NoisedBatch, Problem, predict_noised
from ddm_jax.diffusion.losses.objectives import OBJECTIVES, VDM, VLB, Hybrid, Uncertainty, Weighted
from ddm_jax.diffusion.losses.vdm import squared_inside
from ddm_jax.diffusion.noise_conds import LogSNR
from ddm_jax.diffusion.predictions import PREDICTIONS, denoiser
from ddm_jax.diffusion.schedules.continuous import ContinuousCosine
from ddm_jax.diffusion.schedules.discrete import Cosine, Linear
from ddm_jax.diffusion.schedules.learned import Learned

pytestmark = pytest.mark.usefixtures("quick_compilation")

KEY, COSINE = jax.random.key(5), Cosine()


def net(params, x, noise_cond, cond, keys=None):
    """F and v (B, d), linear in x, with parameters of their own."""
    noise_cond = noise_cond[:, None] / 10
    f = params["mean"] * x + 0.3 * jnp.tanh(noise_cond)
    return jnp.concatenate([f, params["variance"] * (x + noise_cond)], -1)


def narrow(params, x, noise_cond, cond, keys=None):
    """The same without v."""
    return net(params, x, noise_cond, cond)[..., : x.shape[-1]]


PARAMS = {"mean": jnp.float32(0.6), "variance": jnp.float32(0.2)}


def problem_of(objective, prediction="eps"):
    wide = net if objective.learns_variance else narrow
    return Problem(wide, PREDICTIONS[prediction](), LogSNR())


def draw_at(t, key=KEY, d=3):
    t = jnp.asarray(t, jnp.float32)
    x0 = jnp.round(127.5 * (jnp.tanh(jax.random.normal(key, (len(t), d))) + 1)) / 127.5 - 1
    eps = jax.random.normal(jax.random.fold_in(key, 1), x0.shape)
    keys = jax.random.split(key, len(t))
    return NoisedBatch(x0, eps, t, NO_CONTEXT, keys, own=keys)


def loss_of(objective, schedule=COSINE):
    """The compiled (params, draw) -> (B,)."""
    problem = problem_of(objective)

    def loss(params, draw):
        return objective.loss(problem, params, schedule, taught(draw, schedule))[0]

    return jax.jit(loss)


def taught(draw, schedule):
    """With a teacher and a step, for the objectives that ask for them."""
    return draw._replace(teacher=gaussian(schedule, 0.1, 0.8), step=jnp.int32(700))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_reach_what_embeds_the_condition(name):
    """The context is computed from parameters that are trained with the network's."""
    objective = OBJECTIVES[name]()
    full = objective.with_params(objective.init_params(KEY))
    wide = net if objective.learns_variance else narrow

    def told(params, x, noise_cond, context, keys=None):
        f = wide(params, x, noise_cond, context)
        return f.at[:, : x.shape[-1]].add(0.1 * context.vector)

    problem = problem_of(objective)._replace(net=told)
    label, draw = jnp.arange(12) % 3, draw_at(np.linspace(0, 999, 12).round() / 999)

    @jax.jit
    def gradient(table):
        def mean(table):
            noised = taught(draw, COSINE)._replace(context=Context(table[label]))
            return full.loss(problem, PARAMS, COSINE, noised)[0].mean()

        return jax.grad(mean)(table)

    found = gradient(jnp.ones((3, 3)))
    assert jnp.isfinite(found).all() and (found != 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_loss_is_finite_at_both_ends_and_has_gradients(name):
    objective = OBJECTIVES[name]()
    full = objective.with_params(objective.init_params(KEY))
    problem, draw = problem_of(objective), draw_at(np.linspace(0, 999, 12).round() / 999)

    @jax.jit
    def values(params, draw):
        def of(schedule):
            told = taught(draw, schedule)
            return jax.value_and_grad(lambda p: full.loss(problem, p, schedule, told)[0].mean())

        return [of(schedule)(params) for schedule in (Cosine(), Learned())]

    for loss, grads in values(PARAMS, draw):
        assert jnp.isfinite(loss) and jnp.isfinite(grads["mean"]) and grads["mean"] != 0
        assert (grads["variance"] != 0) == objective.learns_variance


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_loss_is_a_matter_of_the_example_alone(name):
    loss, draw = loss_of(OBJECTIVES[name]()), draw_at(np.arange(6) / 999)
    whole = loss(PARAMS, draw)
    part = loss(PARAMS, jax.tree.map(lambda a: a[4:], draw))
    assert whole.shape == (6,)
    np.testing.assert_allclose(whole[4:], part, rtol=1e-4)


@pytest.mark.parametrize("variance", ["small", "large", "learned"])
def test_vlb_terms_sum_to_the_bound(variance):
    """One example seen at every level with the noises of likelihood.vlb: the mean is the bound."""
    steps, schedule = 40, Linear(num_timesteps=40, scaled=True)
    objective = VLB(variance=variance)
    problem = problem_of(objective)
    one = draw_at(jnp.zeros(1)).x0
    times = np.linspace(1, 0, steps, dtype=np.float32)
    eps = jnp.concatenate([normal_like(jax.random.fold_in(KEY, k), one) for k in range(steps)])
    draw = draw_at(times)._replace(x0=jnp.repeat(one, steps, 0), eps=eps)
    mean = loss_of(objective, schedule)(PARAMS, draw).mean()
    denoise = denoiser(problem.net, PARAMS, problem.parameterisation(schedule))
    bound = jax.jit(
        lambda x: vlb(denoise, schedule, times, x, key=KEY, variance=variance, low=-1.0, high=1.0)
    )(one)
    assert float(mean) == pytest.approx(float(bound.total[0]), rel=1e-3)


def test_hybrid_trains_the_mean_by_the_simple_loss_and_the_variance_by_the_bound():
    schedule, draw = Cosine(), draw_at(np.linspace(0, 999, 30).round() / 999)

    def grads(objective, problem):
        loss = lambda p: objective.loss(problem, p, schedule, draw)[0].mean()  # noqa: E731
        return jax.jit(jax.grad(loss))(PARAMS)

    wide = problem_of(Hybrid())
    hybrid = grads(Hybrid(scale=0.01), wide)
    simple = grads(Weighted(), wide)
    bound = grads(VLB(), wide)
    assert float(hybrid["mean"]) == pytest.approx(float(simple["mean"]), rel=1e-5)
    assert float(hybrid["variance"]) == pytest.approx(0.01 * float(bound["variance"]), rel=1e-4)
    assert float(bound["mean"]) != pytest.approx(float(simple["mean"]), rel=0.1)


def test_uncertainty_starts_as_the_plain_loss_and_balances_it():
    """d/du (e^-u L + u) = 1 - L e^-u vanishes where u = log L, and the best value is 1 + log L."""
    objective, schedule = Uncertainty(), Cosine()
    draw = draw_at(np.linspace(0.02, 0.98, 64))
    plain = loss_of(Weighted())(PARAMS, draw)
    np.testing.assert_allclose(loss_of(objective)(PARAMS, draw), plain, rtol=1e-6)

    logsnr = schedule.logsnr(draw.t)
    level = jnp.exp(jnp.sin(logsnr / 2) - 0.1 * logsnr)
    tx = optax.adam(0.03)

    @jax.jit
    def step(params, state):
        def loss(p):
            u = objective.with_params(p).log_loss(logsnr)
            return (jnp.exp(-u) * level + u).mean()

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state)
        return optax.apply_updates(params, updates), state, value

    params = objective.init_params(KEY)
    state = tx.init(params)
    for _ in range(500):
        params, state, value = step(params, state)
    assert float(value) == pytest.approx(float(1 + jnp.log(level).mean()), abs=0.01)
    u = objective.with_params(params).log_loss(logsnr)
    np.testing.assert_allclose(u, jnp.log(level), atol=0.3)


def test_squared_inside_keeps_the_value_and_squares_one_derivative():
    f = squared_inside(lambda held, inner: held * jnp.sin(inner))
    x = jnp.array([0.3, 1.1])
    value, grads = jax.value_and_grad(lambda h, i: f(h, i).sum(), (0, 1))(2.0, x)
    assert float(value) == pytest.approx(float((2 * jnp.sin(x)).sum()))
    assert float(grads[0]) == pytest.approx(float(jnp.sin(x).sum()))
    np.testing.assert_allclose(grads[1], jax.grad(lambda i: ((2 * jnp.sin(i)) ** 2).sum())(x))


# Ends apart from those of the default, so that decoder and prior have gradients.
SHORT = Learned(max_logsnr=6.0, min_logsnr=-4.0, units=16)


def gaussian_net(params, x, noise_cond, cond, keys=None):
    """F = eps for x_0 ~ N(0, s^2), exactly where params = s; the noise_cond is log-SNR."""
    logsnr = noise_cond[:, None]
    alpha, variance = jnp.sqrt(jax.nn.sigmoid(logsnr)), jax.nn.sigmoid(-logsnr)
    return jnp.sqrt(variance) * x / (alpha**2 * params**2 + variance)


def vdm_loss(weights, draw, params=0.5):
    schedule = SHORT.with_params(weights)
    problem = Problem(gaussian_net, PREDICTIONS["eps"](), LogSNR())
    return VDM().loss(problem, params, schedule, draw)[0]


def test_the_learned_schedule_reduces_the_variance_and_keeps_the_mean():
    """Its interior follows the gradient of the squared diffusion loss."""
    count, d = 1024, 8
    x0 = 0.5 * jax.random.normal(KEY, (count, d))
    t = (jnp.arange(count) + 0.5) / count
    draw = NoisedBatch(x0, jax.random.normal(jax.random.key(1), x0.shape), t, NO_CONTEXT, None)
    weights = SHORT.init_params(KEY)

    @jax.jit
    def grads_and_loss(w):
        def mean_of(w):
            each = vdm_loss(w, draw)
            return each.mean(), each

        return jax.grad(mean_of, has_aux=True)(w)

    ends = ("max_logsnr", "span")

    def mean_square(interior):
        w = weights._replace(**interior)
        schedule = SHORT.with_params(w)
        seen = predict_noised(
            Problem(gaussian_net, PREDICTIONS["eps"](), LogSNR()), 0.5, schedule, draw
        )
        _, slope = jax.jvp(schedule.logsnr, (t,), (jnp.ones_like(t),))
        term = -0.5 * slope * ((seen.f - seen.target) ** 2).mean(1) / jnp.log(2.0)
        return (term**2).mean()

    interior = {k: v for k, v in weights._asdict().items() if k not in ends}
    expected = jax.jit(jax.grad(mean_square))(interior)
    got, before = grads_and_loss(weights)
    for name in interior:
        np.testing.assert_allclose(getattr(got, name), expected[name], rtol=2e-2, atol=1e-5)

    for _ in range(150):
        down = jax.tree.map(lambda p, g: p - 2.0 * g, weights, grads_and_loss(weights)[0])
        weights = down._replace(max_logsnr=weights.max_logsnr, span=weights.span)
    _, after = grads_and_loss(weights)
    assert float(after.var()) < 0.9 * float(before.var())
    assert float(after.mean()) == pytest.approx(float(before.mean()), rel=0.02)
    assert jnp.isfinite(after).all()


def test_the_ends_of_the_learned_schedule_follow_the_bound():
    """By differences of the mean loss itself, interior fixed."""
    x0 = draw_at(jnp.zeros(4096), d=8).x0 * 0.5
    x0 = jnp.round(127.5 * (x0 + 1)) / 127.5 - 1
    t = (jnp.arange(4096) + 0.5) / 4096
    draw = NoisedBatch(x0, jax.random.normal(jax.random.key(1), x0.shape), t, NO_CONTEXT, None)
    weights = SHORT.init_params(KEY)
    mean = jax.jit(jax.value_and_grad(lambda w: vdm_loss(w, draw, 0.31).mean()))
    _, grads = mean(weights)
    for name in ("max_logsnr", "span"):
        step = 0.05
        ahead, behind = (
            mean(weights._replace(**{name: getattr(weights, name) + sign * step}))[0]
            for sign in (1, -1)
        )
        slope = float(ahead - behind) / (2 * step)
        assert float(getattr(grads, name)) == pytest.approx(slope, rel=0.02, abs=1e-4), name


def test_vdm_needs_no_learned_schedule():
    """On a fixed one it is the bound in continuous time, invariant to the path between the ends."""
    x0 = draw_at(jnp.zeros(20_000), d=2).x0 * 0.5
    t = (jnp.arange(20_000) + 0.5) / 20_000
    draw = NoisedBatch(x0, jax.random.normal(jax.random.key(1), x0.shape), t, NO_CONTEXT, None)
    problem = Problem(gaussian_net, PREDICTIONS["eps"](), LogSNR())
    straight = SHORT.with_params(SHORT.init_params(KEY))
    bent = ContinuousCosine(min_logsnr=-4.0, max_logsnr=6.0)
    a, b = (
        jax.jit(lambda d: VDM().loss(problem, 0.31, s, d)[0].mean())(draw)  # noqa: B023
        for s in (straight, bent)
    )
    assert float(a) == pytest.approx(float(b), rel=5e-3)


def test_refusals():
    with pytest.raises(ValueError, match="small, large, learned"):
        VLB(variance="medium")
    with pytest.raises(ValueError, match="features"):
        Uncertainty(features=0)
    with pytest.raises(ValueError, match="min_logsnr"):
        Learned(min_logsnr=14.0)
