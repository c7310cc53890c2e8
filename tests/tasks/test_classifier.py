"""The classifier's task: its loss and accuracy, what its network is shown, and its draws."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config, override
from ddm_jax.data.columns import spec_of
from ddm_jax.diffusion.losses.base import Batch, Params
from ddm_jax.diffusion.schedules import SCHEDULES
from ddm_jax.evaluation.accuracy import Accuracy
from ddm_jax.tasks.base import Weights
from ddm_jax.training.base import View

pytestmark = pytest.mark.usefixtures("quick_compilation")

COUNT, KEY = 64, jax.random.key(2)
VIEW, NO_PARAMS = View(jnp.zeros((), jnp.int32), None, ()), Params(None)


class Means:
    """Scores of 3 classes from the mean of what it is shown; remembers what that was."""

    dropout = 0.0

    def __init__(self):
        self.seen = []

    def check(self, space):
        pass

    def apply(self, variables, x, noise_cond):
        self.seen.append((x, noise_cond))
        return x.mean((1, 2, 3))[:, None] * jnp.array([-4.0, 0.0, 4.0])


def task_of(*settings):
    config = load_config(str(ROOT / "configs/digits_classifier.py"))
    config = override(config, [f"--config.{s}" for s in (f"train.batch={COUNT}", *settings)])
    columns = {"x": np.zeros((4, 4, 4, 1), np.uint8), "label": np.arange(4, dtype=np.int32) % 3}
    made = assemble(config, spec_of("toy", columns, "abc"))
    return dataclasses.replace(made.task, net=Means())


def batch():
    label = jnp.arange(COUNT) % 3
    x0 = (label - 1.0)[:, None, None, None] * jnp.ones((COUNT, 4, 4, 1))
    return Batch(x0, label, jnp.arange(COUNT))


def test_the_loss_is_the_cross_entropy_and_the_accuracy_beside_it():
    task = task_of("classifier.noisy=False")
    terms = task.loss(NO_PARAMS, batch(), KEY, borrowed={}, view=VIEW)
    label = np.arange(COUNT) % 3
    scores = (label - 1.0)[:, None] * np.array([-4.0, 0.0, 4.0])
    expected = np.log(np.exp(scores).sum(1)) - scores[np.arange(COUNT), label]
    np.testing.assert_allclose(terms.loss, expected, rtol=1e-5)
    assert terms.parts["accuracy"].tolist() == (scores.argmax(1) == label).tolist()
    log_prob = task.log_prob(NO_PARAMS, batch().x0, 0.0, batch().cond)
    np.testing.assert_allclose(log_prob, -expected, rtol=1e-5)


def test_without_noise_it_sees_the_examples_and_the_least_noise():
    task = task_of("classifier.noisy=False")
    terms = task.loss(NO_PARAMS, batch(), KEY, borrowed={}, view=VIEW)
    x, told = map(np.asarray, task.net.seen[-1])
    assert terms.t is None and len(set(told.tolist())) == 1
    np.testing.assert_allclose(told, task.noise_cond(task.schedule, jnp.zeros(COUNT)))
    np.testing.assert_allclose(x, batch().x0, rtol=1e-4)


@pytest.mark.parametrize("schedule", ["cosine", "flow", "edm"])
def test_with_noise_it_sees_x_t_scaled_to_unit_size(schedule):
    """Also where sigma grows to 80, for data of unit variance."""
    assert schedule in SCHEDULES
    task = task_of(f"schedule.name={schedule}", "classifier.uniforms=independent")
    ones = batch()._replace(x0=jax.random.normal(KEY, (COUNT, 4, 4, 1)))
    terms = task.loss(NO_PARAMS, ones, KEY, borrowed={}, view=VIEW)
    x, told = map(np.asarray, task.net.seen[-1])
    assert 0.9 < x.std() < 1.1 and terms.t.std() > 0.2
    np.testing.assert_allclose(told, task.noise_cond(task.schedule, terms.t), rtol=1e-6)
    t = np.asarray(terms.t)
    low, high = x[t < 0.15].reshape(-1, 16), x[t > 0.85].reshape(-1, 16)
    clean = np.asarray(ones.x0).reshape(-1, 16)

    def likeness(seen, of):
        return np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(seen, of, strict=True)])

    assert likeness(low, clean[t < 0.15]) > 0.9 > 0.4 > likeness(high, clean[t > 0.85])


def test_draws_belong_to_the_example():
    """Whatever the split of the batch, and another key draws others."""
    task, whole = task_of(), batch()
    terms = task.loss(NO_PARAMS, whole, KEY, borrowed={}, view=VIEW)
    part = jax.tree.map(lambda a: a[16:32], whole)
    split = task.loss(NO_PARAMS, part, KEY, borrowed={}, view=VIEW)
    np.testing.assert_array_equal(split.t, terms.t[16:32])
    np.testing.assert_allclose(split.loss, terms.loss[16:32], rtol=1e-5)
    other = task.loss(NO_PARAMS, whole, jax.random.key(9), borrowed={}, view=VIEW)
    assert abs(other.t - terms.t).max() > 1e-3
    assert abs(other.loss - terms.loss).max() > 1e-3


def test_the_metric_is_right_by_level_and_the_same_in_any_batch():
    task, metric = task_of("evaluate.levels=5"), Accuracy()
    values = np.full((COUNT, 4, 4, 1), 128, np.uint8)
    values[::3], values[2::3] = 0, 255
    label, keys = jnp.arange(COUNT) % 3, jax.random.split(KEY, COUNT)
    columns = {"x": values, "label": label}
    rows = metric.measure(task, Weights(NO_PARAMS), columns, keys)
    assert rows["accuracy"].shape == rows["nats"].shape == (COUNT, 5)
    few = slice(5, 9)
    cut = {name: column[few] for name, column in columns.items()}
    part = metric.measure(task, Weights(NO_PARAMS), cut, keys[few])
    np.testing.assert_allclose(part["nats"], rows["nats"][few], rtol=1e-4, atol=1e-5)
    summary = metric.summary(task, {name: np.asarray(row) for name, row in rows.items()})
    share = [row["mean"] for row in summary["accuracy"]]
    # Black and white are told; 128 is a hair above the middle, and taken for white.
    assert share[0] == pytest.approx(43 / 64) and 0.1 < share[-1] < 0.6
    assert summary["times"] == [0, 0.25, 0.5, 0.75, 1]
    assert len(metric.lines(summary, {})) == 6
