"""Guidance as a config assembles it, on a network known in closed form."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config, override
from ddm_jax.data.columns import spec_of
from ddm_jax.diffusion.conditions import Context
from ddm_jax.diffusion.losses.base import Batch, Params
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.generator import Asked
from ddm_jax.training.base import View

pytestmark = pytest.mark.usefixtures("quick_compilation")

CLASSES = ("zero", "one", "two")
NULL, SCALE = 3, 3.5
NO_WEIGHTS = Params(None)


class Tilted:
    """A network whose output is 0.4 x + tanh(x + the vector that it is told)."""

    dropout = 0.0

    def apply(self, variables, x, noise_cond, context, train):
        return 0.4 * x + jnp.tanh(x + context.vector[:, None, None])


class Told:
    """The class itself for a vector; remembers the classes."""

    parts = ("vector",)
    choices = CLASSES

    def __init__(self):
        self.seen = []

    def raw(self, columns):
        return columns["label"]

    def ask(self, requests):
        return np.array([CLASSES.index(name) for name in requests], np.int32)

    def null(self, count):
        return jnp.full(count, NULL, jnp.int32)

    def embed(self, params, raw):
        self.seen.append(np.asarray(raw).tolist())
        return Context(raw[:, None])


@pytest.fixture(scope="module")
def setup():
    config = load_config(str(ROOT / "configs/quickstart.py"))
    overrides = (
        "prediction.name=eps",
        "loss.class_dropout=0.5",
        "sample.clip=none",
        f"guidance.classifier_free.scale={SCALE}",
    )
    config = override(config, [f"--config.{o}" for o in overrides])
    columns = {"x": np.zeros((4, 8, 8, 1), np.uint8), "label": np.zeros(4, np.int32)}
    made = assemble(config, spec_of("toy", columns, CLASSES))
    model = dataclasses.replace(made.task.model, net=Tilted(), condition=Told())
    generator = dataclasses.replace(made.task.generator, model=model)
    task = dataclasses.replace(made.task, model=model, generator=generator)
    return dataclasses.replace(made, task=task)


def test_sampling_is_guided_from_the_null_class_towards_the_asked_one(setup):
    """eps = (1 + w) eps(x, c) - w eps(x, null), w = scale - 1, in float64; null is class 3 of 3."""
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 1))
    asked = np.array([2, 0, 1])
    t = jnp.float32(0.5)
    schedule = setup.task.model.schedule
    alpha, sigma = (float(f(t)) for f in (schedule.alpha, schedule.sigma))
    towards, away = (
        0.4 * x + np.tanh(x + c) for c in (asked[:, None, None, None], np.float64(NULL))
    )
    w = SCALE - 1
    expected = (x - sigma * ((1 + w) * towards - w * away)) / alpha
    labels = jnp.asarray(asked)
    denoise = setup.task.generator.guided(Weights(NO_WEIGHTS), Asked(labels, labels))
    got = denoise(jnp.asarray(x, jnp.float32), t)
    np.testing.assert_allclose(got.x0, expected, rtol=1e-5, atol=1e-5)


def test_the_network_is_asked_once_for_both_branches(setup):
    task, sizes = setup.task, []

    class Counted(Tilted):
        def apply(self, variables, x, noise_cond, context, train):
            sizes.append(len(x))
            return super().apply(variables, x, noise_cond, context, train)

    model = dataclasses.replace(task.model, net=Counted())
    generator = dataclasses.replace(task.generator, model=model)
    x, labels = jnp.ones((3, 8, 8, 1)), jnp.array([2, 0, 1])
    generator.guided(Weights(NO_WEIGHTS), Asked(labels, labels))(x, jnp.float32(0.5))
    assert sizes == [6]


def test_what_is_to_be_avoided_stands_in_for_the_null(setup):
    """Away from class two: x0 = x0(two) + scale (x0(c) - x0(two)); scale 1 never asks for it."""
    x, labels, t = jnp.full((2, 8, 8, 1), 0.3), jnp.array([1, 1]), jnp.float32(0.5)
    generator, schedule = setup.task.generator, setup.task.model.schedule

    def x0(avoid, scale=SCALE):
        guidance = dataclasses.replace(generator.guidance, scale=scale)
        options = dataclasses.replace(generator.options, avoid=avoid)
        told = dataclasses.replace(generator, guidance=guidance, options=options)
        return np.asarray(told.guided(Weights(NO_WEIGHTS), Asked(labels, labels))(x, t).x0)

    one, two = (0.4 * x + jnp.tanh(x + c) for c in (1, 2))
    expected = (x - schedule.sigma(t) * (two + SCALE * (one - two))) / schedule.alpha(t)
    np.testing.assert_allclose(x0("two"), expected, rtol=1e-4)
    assert abs(x0("two") - x0("")).max() > 0.02
    np.testing.assert_array_equal(x0("two", 1.0), x0("", 1.0))


def test_the_class_that_guidance_starts_from_is_the_one_that_training_drops_to(setup):
    count, task = setup.train.batch, setup.task
    told = task.model.condition
    told.seen.clear()
    ones = jnp.ones(count, jnp.int32)
    batch = Batch(jnp.zeros((count, 8, 8, 1)), ones, jnp.arange(count))
    task.loss(NO_WEIGHTS, batch, setup.train_key(), borrowed={}, view=View(0, NO_WEIGHTS, ()))
    task.generator.guided(Weights(NO_WEIGHTS), Asked(ones, ones))
    trained, *guided = map(set, told.seen)
    assert {1} in guided and {NULL} in guided and set().union(*guided) == trained == {1, NULL}


def test_the_null_of_classes_is_the_row_after_the_last(setup):
    config = load_config(str(ROOT / "configs/quickstart.py"))
    condition = assemble(config, setup.spec).task.model.condition
    assert condition.null(2).tolist() == [len(CLASSES)] * 2
    assert condition.table.num_embeddings == len(CLASSES) + 1
