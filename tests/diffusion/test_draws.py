"""The random draws of the training loss are independent: of each other, of examples, of steps."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm, rankdata
from told import NULL, Told

from ddm_jax.diffusion.losses.base import Batch, Params
from ddm_jax.diffusion.losses.draws import Draws, diffusion_loss
from ddm_jax.diffusion.losses.importance import History, Importance
from ddm_jax.diffusion.losses.noised import Problem
from ddm_jax.diffusion.losses.objectives import Weighted
from ddm_jax.diffusion.losses.time_samplers import Uniform
from ddm_jax.diffusion.noise_conds import Time, Timestep
from ddm_jax.diffusion.predictions import PREDICTIONS
from ddm_jax.diffusion.schedules.rates import Flow

pytestmark = pytest.mark.usefixtures("quick_compilation")

COUNT, KEY = 4000, jax.random.key(3)


class Watched(Weighted):
    """Weighted, as an objective that draws for itself and asks for the null."""

    asks_null = True
    seen = None

    def loss(self, problem, params, schedule, batch):
        object.__setattr__(self, "seen", batch)
        return super().loss(problem, params, schedule, batch)


def draws(key):
    """{name: (COUNT,)} of one step: times, noises of one element, classes dropped, dropout keys,
    and what the objective draws itself.

    The network is shown sigma eps, since x_0 is 0.
    """
    seen = {}

    def net(params, x, noise_cond, context, keys):
        dropped = context.vector[:, 0] == NULL
        seen.update(x=x[:, 0], dropped=dropped, dropout=jax.vmap(jax.random.uniform)(keys))
        return jnp.zeros_like(x)

    problem = Problem(net, PREDICTIONS["eps"](), Timestep())
    how = Draws(COUNT, class_dropout=0.4)
    objective = Watched()
    loss = diffusion_loss(problem, Flow(), objective, Uniform(), embedding=Told(), draws=how)
    batch = Batch(jnp.zeros((COUNT, 1)), jnp.zeros(COUNT, jnp.int32), jnp.arange(COUNT))
    t = loss(Params(None), batch, key, ()).t
    eps = seen.pop("x") / Flow().sigma(t)
    given = objective.seen
    assert (given.told == ~seen["dropped"]).all() and (given.null.vector == NULL).all()
    seen["own"] = jax.vmap(jax.random.uniform)(given.own)
    return {k: np.asarray(v, np.float64) for k, v in {"t": t, "eps": eps, **seen}.items()}


def test_augment_labels_are_told_with_the_condition_and_without_it():
    """What an objective asks of the null is asked of the same changed example."""
    labels, matrix = jnp.array([[0.0, 0.0], [1.0, 0.5], [0.0, -2.0]]), jnp.array([[10.0], [100.0]])
    problem = Problem(
        lambda params, x, *rest, keys: jnp.zeros_like(x), PREDICTIONS["eps"](), Timestep()
    )
    objective, raw = Watched(), jnp.arange(3)
    loss = diffusion_loss(problem, Flow(), objective, Uniform(), embedding=Told(), draws=Draws(3))
    batch = Batch(jnp.zeros((3, 1)), raw, jnp.arange(3), augment_labels=labels)
    loss(Params(None, augment=matrix), batch, KEY, ())
    added, given = labels @ matrix, objective.seen
    np.testing.assert_allclose(given.context.vector, raw[:, None] + added)
    np.testing.assert_allclose(given.null.vector, NULL + added)


@pytest.fixture(scope="module")
def two_steps():
    """The draws of two steps."""
    return [draws(jax.random.fold_in(KEY, step)) for step in range(2)]


def correlation(a, b):
    """The largest of the correlations of a and b, and of how far they are from their middles.

    Taken of ranks: a noise and a uniform number that come from the same bits have the same rank.
    """
    a, b = (rankdata(v) / len(v) - 0.5 for v in (a, b))
    pairs = (a, b), (abs(a), abs(b)), (a, abs(b)), (abs(a), b)
    return max(abs(np.corrcoef(*pair)[0, 1]) for pair in pairs if min(map(np.std, pair)) > 1e-9)


LIMIT = 5 / np.sqrt(COUNT)  # five deviations of the correlation of independent draws


def test_the_draws_have_their_distributions(two_steps):
    """By the largest distance of the distribution functions (Kolmogorov-Smirnov)."""
    middle = (np.arange(COUNT) + 0.5) / COUNT
    for seen in two_steps:
        assert seen["dropped"].mean() == pytest.approx(0.4, abs=0.03)
        for share in (seen["t"], seen["dropout"], seen["own"], norm.cdf(seen["eps"])):
            assert abs(np.sort(share) - middle).max() < 1.9 / np.sqrt(COUNT)


def test_the_draws_of_an_example_are_independent(two_steps):
    for a, b in combinations(two_steps[0], 2):
        assert correlation(two_steps[0][a], two_steps[0][b]) < LIMIT, (a, b)


def test_examples_draw_independently(two_steps):
    """Those next to each other, every draw of one against every draw of the other."""
    for a, one in two_steps[0].items():
        for b, other in two_steps[0].items():
            assert correlation(one[1:], other[:-1]) < LIMIT, (a, b)


def test_steps_draw_independently(two_steps):
    for a, one in two_steps[0].items():
        for b, other in two_steps[1].items():
            assert correlation(one, other) < LIMIT, (a, b)


def test_a_preference_for_some_times_leaves_the_mean_of_the_loss_alone():
    """The factor 1 / (T p) makes up for it: with a loss that is a function of time, exactly.

    x_0 = 1 and the network answers with the level's index i, so the loss is (i - 1)^2.
    """
    levels, size = 5, 20_000
    times = Importance(history=2, uniform=0.1)
    history = jnp.array([[8.0, 1.0], [0.5, 0.5], [2.0, 3.0], [0.0, 1.0], [4.0, 4.0]])
    memory = History(history, jnp.full(levels, 2))

    def net(params, x, noise_cond, context, keys):
        return noise_cond[:, None]

    problem = Problem(net, PREDICTIONS["x0"](), Timestep())
    schedule = Flow(num_timesteps=levels)
    how = Draws(size, "stratified")
    loss = diffusion_loss(problem, schedule, Weighted(), times, embedding=Told(), draws=how)
    batch = Batch(jnp.ones((size, 1)), None, jnp.arange(size))
    terms = loss(Params(None), batch, KEY, memory)
    uneven = float(terms.loss.mean())
    expected = ((np.arange(levels) - 1.0) ** 2).mean()
    assert abs(uneven - expected) > 0.3
    assert float((terms.weight * terms.loss).mean()) == pytest.approx(expected, rel=2e-3)


def test_noise_that_examples_come_with_is_the_noise_they_are_trained_on():
    """x_0 = s eps lies on straight paths which one velocity fits: the loss of it is 0.

    Of drawn noise the same velocity misses by Var[eps - x_0 | x_t]: with d = (1 - t)^2 s^2 + t^2,
    that is s^2 / d (Liu et al. 2022, arXiv:2209.03003, section 2.2: straight paths do not cross).
    """
    s, count = 0.5, 20_000
    eps = jax.random.normal(jax.random.key(7), (count, 1))
    seen = {}

    def velocity(params, x, told, context, keys):
        t = told[:, None]
        seen["t"] = told
        return x * (1 - s) / ((1 - t) * s + t)

    problem = Problem(velocity, PREDICTIONS["velocity"](), Time())
    loss = diffusion_loss(
        problem, Flow(), Weighted(), Uniform(), embedding=Told(), draws=Draws(count)
    )
    place = jnp.arange(count)
    batch = Batch(s * eps, jnp.zeros(count, jnp.int32), place)
    straight = loss(Params(None), batch._replace(noise=eps), KEY, ()).loss
    assert abs(straight).max() < 1e-4
    drawn, t = np.asarray(loss(Params(None), batch, KEY, ()).loss), np.asarray(seen["t"])
    var = (1 - t) ** 2 * s**2 + t**2
    mean = (t - (1 - t) * s**2) / var  # E[eps - x_0 | x_t] over x_t
    off = (1 - s) / ((1 - t) * s + t) - mean
    expected = s**2 / var + off**2 * var
    assert drawn.mean() == pytest.approx(expected.mean(), rel=0.05)
