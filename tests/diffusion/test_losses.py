"""Laws of the training loss, its weightings and guidance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from told import NULL, Told

from ddm_jax.diffusion.combining import combine
from ddm_jax.diffusion.losses.base import Batch, Params
from ddm_jax.diffusion.losses.distances import DISTANCES, L1, Huber
from ddm_jax.diffusion.losses.draws import Draws, diffusion_loss
from ddm_jax.diffusion.losses.noised import Problem
from ddm_jax.diffusion.losses.objectives import Weighted
from ddm_jax.diffusion.losses.time_samplers import Discrete
from ddm_jax.diffusion.losses.weightings import WEIGHTINGS, Likelihood, Simple
from ddm_jax.diffusion.noise_conds import Timestep
from ddm_jax.diffusion.predictions import PREDICTIONS
from ddm_jax.diffusion.process import Estimate
from ddm_jax.diffusion.schedules.discrete import Cosine

pytestmark = pytest.mark.usefixtures("quick_compilation")

KEY = jax.random.key(3)


def loss_of(net, prediction="eps", size=1, **options):
    """(network's parameters, batch, key) -> Terms, of the settings that are not given."""
    named = {k: options.pop(k) for k in ("weighting", "distance") if k in options}
    problem = Problem(net, PREDICTIONS[prediction](), Timestep(), **named)
    how = Draws(size, **options)
    loss = diffusion_loss(problem, Cosine(), Weighted(), Discrete(), embedding=Told(), draws=how)
    return lambda params, batch, key: loss(Params(params), batch, key, ())


def batch(count, size=4, cond=None):
    x0 = jax.random.normal(KEY, (count, size, size, 1))
    return Batch(x0, cond, jnp.arange(count))


def zero(params, x, noise_cond, context, keys):
    return jnp.zeros_like(x)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_a_zero_network_starts_at_one_on_unit_data(prediction):
    """E|eps|^2 = 1, and x_0 and v have unit variance too."""
    terms = loss_of(zero, prediction)(None, batch(4000), KEY)
    assert float(terms.loss.mean()) == pytest.approx(1.0, abs=0.02)


def test_distances_of_a_zero_network_on_unit_data():
    """E|e| = sqrt(2 / pi) = 0.7979; Huber is L2 within delta, and follows 2 delta |e| beyond."""

    def mean(distance):
        return float(loss_of(zero, distance=distance)(None, batch(4000), KEY).loss.mean())

    assert mean(L1()) == pytest.approx(0.7979, abs=0.01)
    assert mean(Huber(100.0)) == pytest.approx(mean(DISTANCES["l2"]()), rel=1e-6)
    assert mean(Huber(1e-3)) / 2e-3 == pytest.approx(mean(L1()), rel=1e-3)
    assert float(Huber(2.0)(jnp.float32(5.0))) == pytest.approx(2 * (2 * 5 - 2))
    assert float(jax.grad(Huber(2.0))(2.0)) == pytest.approx(4.0)


@pytest.mark.parametrize("name", DISTANCES)
def test_a_distance_is_even_and_grows(name):
    distance, e = DISTANCES[name](), jnp.linspace(0.0, 9.0, 50)
    np.testing.assert_array_equal(distance(-e), distance(e))
    assert distance(e)[0] == 0 and (jnp.diff(distance(e)) > 0).all()


@pytest.mark.parametrize("name", DISTANCES)
def test_a_distance_is_convex(name):
    """So that its mean is least for one estimate."""
    d = DISTANCES[name]()(jnp.linspace(-4.0, 4.0, 401))
    assert (d[2:] + d[:-2] >= 2 * d[1:-1] - 1e-4 * d[1:-1] - 1e-6).all()


def test_l1_in_the_space_of_x0_is_the_absolute_error_of_x0():
    """Whatever the network predicts."""
    nets = nets_with_the_same_x0(jnp.tanh)
    options = {"weighting": Simple("x0"), "distance": L1()}
    means = [
        float(loss_of(net, name, **options)(0.7, batch(64), KEY).loss.mean())
        for name, net in nets.items()
    ]
    np.testing.assert_allclose(means, means[1], rtol=2e-2)


def nets_with_the_same_x0(guess):
    """For each prediction, a network whose estimate of x_0 is guess(x_t)."""

    def of(prediction):
        def net(params, x, noise_cond, context, keys):
            t = noise_cond / 999
            skip, out, c_in = (
                c[:, None, None, None]
                for c in prediction.coefficients(Cosine().alpha(t), Cosine().sigma(t))
            )
            return (params * guess(x / c_in) - skip * x / c_in) / out

        return net

    return {name: of(cls()) for name, cls in PREDICTIONS.items()}


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_a_weighting_is_the_same_loss_and_gradient_whatever_is_predicted(name):
    weighting = WEIGHTINGS[name]("x0") if name == "simple" else WEIGHTINGS[name]()
    results = []
    for prediction, net in nets_with_the_same_x0(jnp.tanh).items():
        loss = loss_of(net, prediction, weighting=weighting)
        value = jax.value_and_grad(lambda p: loss(p, batch(64), KEY).loss.mean())  # noqa: B023
        results.append(value(0.7))
    losses, grads = map(np.array, zip(*results, strict=True))
    assert np.isfinite(losses).all() and (losses > 0).all()
    # eps and score divide by alpha, which is 5e-5 at the noisy end.
    np.testing.assert_allclose(losses, losses[1], rtol=2e-2)
    np.testing.assert_allclose(grads, grads[1], rtol=2e-2)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_weights_are_positive_and_finite_at_both_ends(name):
    t = jnp.linspace(0.0, 1.0, 101)
    weight = WEIGHTINGS[name]().on_x0(Cosine(), PREDICTIONS["v"](), t)
    assert weight.shape == t.shape and jnp.isfinite(weight).all() and (weight > 0).all()


def test_the_likelihood_weight_bounds_the_entropy_of_a_gaussian():
    """With the exact denoiser of N(0, s^2) its integral is the bound that the data's entropy gives.

    -log p = 1/2 int E|x_0 - x0_hat|^2 dSNR for the Gaussian channel: the integral over [snr_1,
    snr_0] of the mean squared error s^2 / (1 + s^2 SNR) is log((1 + s^2 snr_0) / (1 + s^2 snr_1)).
    """
    schedule, variance = Cosine(), 0.25
    t = (jnp.arange(100_000) + 0.5) / 100_000
    snr = jnp.exp(schedule.logsnr(t))
    error = variance / (1 + variance * snr)
    integral = float((Likelihood().on_x0(schedule, PREDICTIONS["eps"](), t) * error).mean())
    ends = jnp.exp(schedule.logsnr(jnp.array([0.0, 1.0])))
    exact = 0.5 * float(jnp.log((1 + variance * ends[0]) / (1 + variance * ends[1])))
    assert integral == pytest.approx(exact, rel=1e-3)


def test_the_loss_does_not_depend_on_how_a_batch_is_split():
    def net(params, x, noise_cond, context, keys):
        return params * x + jnp.sin(noise_cond)[:, None, None, None]

    plain, whole = loss_of(net), batch(8)
    loss = jax.jit(lambda part: plain(0.3, part, KEY)[:2])
    parts = [jax.tree.map(lambda a: a[i : i + 2], whole) for i in range(0, 8, 2)]  # noqa: B023
    (losses, times), split = loss(whole), map(loss, parts)
    of_parts, times_of_parts = map(np.concatenate, zip(*split, strict=True))
    np.testing.assert_array_equal(times, times_of_parts)
    np.testing.assert_allclose(losses, of_parts, rtol=1e-6)


def test_labels_are_dropped_at_their_rate_and_independently_of_the_times():
    seen = {}

    def net(params, x, noise_cond, context, keys):
        seen.update(cond=context.vector[:, 0], keys=keys)
        return jnp.zeros_like(x)

    count = 4000
    terms = loss_of(net, class_dropout=0.25)(
        None, batch(count, 1, jnp.zeros(count, jnp.int32)), KEY
    )
    dropped = np.asarray(seen["cond"] == NULL, float)
    assert dropped.mean() == pytest.approx(0.25, abs=0.03)
    assert abs(np.corrcoef(dropped, terms.t)[0, 1]) < 0.05
    assert seen["keys"].shape == (count,)
    loss_of(net)(None, batch(8, 1, jnp.zeros(8, jnp.int32)), KEY)
    assert (seen["cond"] == 0).all()


def test_guidance_interpolates_and_extrapolates():
    main = lambda x, t, s=None: Estimate(x + 1)  # noqa: E731
    reference = lambda x, t, s=None: Estimate(x - 1)  # noqa: E731
    x = jnp.zeros(3)
    assert combine(main, reference, 1.0) is main
    np.testing.assert_array_equal(combine(main, reference, 0.0)(x, 0.0).x0, x - 1)
    np.testing.assert_array_equal(combine(main, reference, 3.0)(x, 0.0).x0, x + 5)


@pytest.mark.parametrize("w", [-1.0, -0.4, 0.5, 3.0])
def test_guidance_is_the_published_one_on_eps(w):
    """(1 + w) eps(c) - w eps, where 1 + w is our scale; a learned variance is that under c.

    But at scale 0, which is the unconditional model whole.
    """

    def always(x0, mix):
        return lambda x_t, t, s=None: Estimate(jnp.asarray(x0), mix)

    alpha, sigma = 0.6, 0.8
    x, main, reference, mix, other = np.random.default_rng(0).normal(size=(5, 4, 3))
    got = combine(always(main, mix), always(reference, other), 1 + w)(jnp.asarray(x), 0.5)
    on_c, on_u, guided = ((x - alpha * x0) / sigma for x0 in (main, reference, got.x0))
    np.testing.assert_allclose(guided, (1 + w) * on_c - w * on_u, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(got.variance_mix, mix if w > -1 else other)
