"""The whole train step against NumPy in float64, on a loss whose gradient is known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddm_jax.diffusion.losses.base import Batch, Terms
from ddm_jax.training import logs
from ddm_jax.training.averages import Ema
from ddm_jax.training.base import Constants
from ddm_jax.training.optim import Optim
from ddm_jax.training.step import init_state, make_train_step

pytestmark = pytest.mark.usefixtures("quick_compilation")

SIZE, STEPS, WARMUP = 8, 7, 2
KEY = jax.random.key(11)
START = {"a": np.array([0.5, -1.0, 2.0]), "b": {"c": np.array(-3.0)}}
PLACE = np.array([5, 2, 7, 0, 3, 6, 1, 4])
X0 = np.random.default_rng(1).normal(size=(SIZE, 3)).astype(np.float32)
NOTHING = Constants(None, {})
BATCH = Batch(jnp.asarray(X0), None, jnp.asarray(PLACE))
T = PLACE / (SIZE - 1)  # both ends included
OPTIMS = {
    "adam": {"lr": 0.8, "b1": 0.8, "b2": 0.9, "eps": 0.01},
    "adamw": {"lr": 0.8, "b1": 0.8, "b2": 0.9, "eps": 0.01, "weight_decay": 0.1},
    "sgd": {"lr": 0.5},
}


def draws(key, place):
    """An example's noise: of the step's key and its place."""
    return jax.random.uniform(jax.random.fold_in(key, place), (3,))


class Own:
    """A task whose pipeline feeds batches, and which remembers nothing."""

    def prepare(self, feed, constants, key):
        return feed

    def remember(self, memory, t, loss):
        return memory


class Quadratic(Own):
    def loss(self, params, batch, key, borrowed, view):
        """|a x - u|^2 / 2 + (c - t)^2 / 2 of an example, with the factor 1/2 + memory t."""
        u = jax.vmap(draws, (None, 0))(key, batch.place)
        t = batch.place / (SIZE - 1)
        away = params["a"] * batch.x0 - u
        parts = {"of_a": 0.5 * (away**2).sum(1), "of_c": 0.5 * (params["b"]["c"] - t) ** 2}
        return Terms(parts["of_a"] + parts["of_c"], t, 0.5 + view.memory * t, parts)

    def remember(self, memory, t, loss):
        """Something that depends on the order of the losses."""
        return 0.9 * memory + 0.01 * (loss * jnp.arange(1.0, SIZE + 1)).mean() + 0.1 * t[0]


def run(optim, ema, accumulate=1, task=None):
    """The states and metrics of STEPS steps, in NumPy."""
    tx = optim.transform(STEPS)
    start = jax.tree.map(jnp.float32, START)
    state = init_state(start, tx, ema, jnp.float32(1.0))
    step = jax.jit(make_train_step(task or Quadratic(), tx, ema).whole(accumulate))
    seen = []
    for _ in range(STEPS):
        state, metrics = step(state, BATCH, NOTHING, KEY)
        seen.append(jax.device_get((state, metrics)))
    return seen


def rate(optim, n):
    """A linear rise over WARMUP updates, then half a cosine to the end."""
    if n < WARMUP:
        return optim.lr * (n + 1) / WARMUP
    return optim.lr * 0.5 * (1 + np.cos(np.pi * (n - WARMUP) / (STEPS - WARMUP)))


def update(optim, theta, grad, moments, n):
    """(theta, moments) after update n = 0, 1, ... by a clipped gradient.

    Kingma & Ba 2015, arXiv:1412.6980, algorithm 1; with decay apart from the gradient Loshchilov &
    Hutter 2019, arXiv:1711.05101, algorithm 2, their alpha and eta_t both in the rate.
    """
    if optim.name == "sgd":
        return theta - rate(optim, n) * grad, moments
    first = optim.b1 * moments[0] + (1 - optim.b1) * grad
    second = optim.b2 * moments[1] + (1 - optim.b2) * grad**2
    mean = first / (1 - optim.b1 ** (n + 1))
    square = second / (1 - optim.b2 ** (n + 1))
    move = mean / (np.sqrt(square) + optim.eps)
    decay = optim.weight_decay * theta if optim.name == "adamw" else 0.0
    return theta - rate(optim, n) * (move + decay), (first, second)


def expected(optim, ema):
    """(theta, average, memory, mean loss, gradient norm, whether both are finite, losses and
    examples by tenths of t), after each step.
    """
    theta = average = np.append(START["a"], START["b"]["c"])
    moments, memory = (0.0, 0.0), 1.0
    for n in range(STEPS):
        key = jax.random.fold_in(KEY, n)
        u = np.array([draws(key, place) for place in PLACE], np.float64)
        away, late = theta[:3] * X0 - u, theta[3] - T
        loss = 0.5 * (away**2).sum(1) + 0.5 * late**2
        weight = 0.5 + memory * T
        grad = np.append((weight[:, None] * away * X0).mean(0), (weight * late).mean())
        norm = np.sqrt((grad**2).sum())
        theta, moments = update(optim, theta, grad * min(1, optim.clip / norm), moments, n)
        d = min(ema.decay, (2 + n) / (11 + n)) if ema.warmup else ema.decay
        average = d * average + (1 - d) * theta
        tenth = np.minimum(np.floor(10 * T), 9).astype(int)
        sums, counts = np.bincount(tenth, loss, 10), np.bincount(tenth, minlength=10)
        memory = 0.9 * memory + 0.01 * (loss * (PLACE + 1)).mean()
        yield theta, average, memory, (weight * loss).mean(), norm, True, sums, counts


def flat(params):
    return np.append(params["a"], params["b"]["c"])


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("warmup", [True, False])
@pytest.mark.parametrize("name", OPTIMS)
def test_the_step_is_what_numpy_computes(name, warmup, accumulate):
    """Clipping acts in some steps and not in others; the average's rate is cut at its decay."""
    optim = Optim(name, warmup=WARMUP, decay="cosine", clip=2.0, **OPTIMS[name])
    ema = Ema(0.3, warmup)
    want = list(expected(optim, ema))
    norms = [norm for *_, norm, _, _, _ in want]
    assert min(norms) < 0.8 * optim.clip and max(norms) > 1.5 * optim.clip
    for k, (state, metrics) in enumerate(run(optim, ema, accumulate)):
        *numbers, parts, of_levels = metrics
        got = flat(state.params), flat(state.ema_params), state.memory, *numbers
        for a, b in zip(got, want[k], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=f"step {k}")
        assert parts.keys() == {"of_a", "of_c"} and min(parts.values()) > 0
        assert sum(parts.values()) == pytest.approx(metrics.loss, rel=1e-5)
        np.testing.assert_allclose(sum(of_levels.values()), metrics.level_sum, rtol=1e-5)
        assert state.step == k + 1


def test_a_whole_weight_counts_an_example_so_many_times():
    """Also under Adam and clipping, which would hide a factor common to all."""

    def params(weights, rows):
        class Sphere(Own):
            def loss(self, params, batch, key, borrowed, view):
                away = params["a"] * batch.x0 - 1
                return Terms((away**2).sum(1), 0 * batch.x0[:, 0], weights)

        tx = Optim(clip=0.5, lr=0.1).transform(10)
        state = init_state({"a": jnp.ones(3)}, tx, Ema())
        step = jax.jit(make_train_step(Sphere(), tx, Ema()).whole())
        x0 = jnp.asarray(X0[rows])
        for _ in range(3):
            state, _ = step(state, Batch(x0, None, jnp.arange(len(rows))), NOTHING, KEY)
        return state.params["a"]

    weighted = params(jnp.array([3.0, 0.0, 1.0, 0.0]), [0, 1, 2, 3])
    np.testing.assert_allclose(weighted, params(jnp.ones(4), [0, 0, 0, 2]), rtol=1e-6)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_task_without_noise_levels_trains_alike_and_has_no_sums_over_them(accumulate):
    class Timeless(Quadratic):
        def loss(self, params, batch, key, borrowed, view):
            return super().loss(params, batch, key, borrowed=borrowed, view=view)._replace(t=None)

        def remember(self, memory, t, loss):
            return super().remember(memory, jnp.zeros(1) if t is None else t, loss)

    optim = Optim("sgd", lr=0.5)
    with_levels, without = (run(optim, Ema(), accumulate, task()) for task in (Quadratic, Timeless))
    for (a, known), (b, metrics) in zip(with_levels, without, strict=True):
        jax.tree.map(np.testing.assert_array_equal, a, b)
        assert metrics.level_sum is None and metrics.level_count is None
        np.testing.assert_array_equal(metrics.loss, known.loss)
    meter = logs.Meter(SIZE)
    for _, metrics in without:
        meter.add(metrics)
    row = meter.row(STEPS, 0.5)
    assert "loss_by_level" not in row and row["of_a"] > 0
    assert "without noise levels" in logs.bad_level(metrics)


def test_a_loss_sees_the_step_the_average_and_the_memory():
    """And what is not differentiated: the average moves by its rule alone."""

    class Curious(Own):
        def loss(self, params, batch, key, borrowed, view):
            far = (params - view.average) ** 2 + view.step + view.memory + borrowed["shift"]
            return Terms(far + 0 * batch.x0[:, 0], None, jnp.ones(SIZE))

        def remember(self, memory, t, loss):
            return memory + 10

    tx = optax.sgd(0.25)
    ema = Ema(0.5, warmup=False)
    state = init_state(jnp.float32(3.0), tx, ema, jnp.float32(0.0))
    step = jax.jit(make_train_step(Curious(), tx, ema).whole())
    theta = average = 3.0
    constants = Constants(None, {"shift": jnp.float32(100.0)})
    for n in range(4):
        state = state._replace(params=state.params + 1)
        theta += 1
        state, metrics = step(state, BATCH, constants, KEY)
        assert metrics.loss == pytest.approx((theta - average) ** 2 + n + 10 * n + 100)
        theta -= 0.25 * 2 * (theta - average)
        average = 0.5 * (average + theta)
        assert (state.params, state.ema_params) == pytest.approx((theta, average))
