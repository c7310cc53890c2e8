"""Guidance as a recipe assembles it, on a network known in closed form."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config, override
from ddm_jax.data.dataset import spec_of
from ddm_jax.diffusion.losses.base import Batch, Params

pytestmark = pytest.mark.usefixtures("quick_compilation")

CLASSES = ("zero", "one", "two")
SCALE = 3.5


class Tilted:
    """A network whose output is 0.4 x + tanh(x + the class); remembers the classes it was told."""

    conditional, dropout = True, 0.0

    def __init__(self):
        self.told = []

    def apply(self, variables, x, noise_cond, cond, train):
        self.told.append(np.asarray(cond))
        return 0.4 * x + jnp.tanh(x + cond[:, None, None, None])


@pytest.fixture(scope="module")
def recipe():
    config = load_config(str(ROOT / "configs/quickstart.py"))
    overrides = (
        "prediction.name=eps",
        "loss.class_dropout=0.5",
        "sample.clip=none",
        f"sample.guidance={SCALE}",
    )
    config = override(config, [f"--config.{o}" for o in overrides])
    made = assemble(config, spec_of("toy", np.zeros((4, 8, 8, 1), np.uint8), CLASSES))
    return dataclasses.replace(made, model=Tilted())


def test_sampling_is_guided_from_the_null_class_towards_the_asked_one(recipe):
    """eps = (1 + w) eps(x, c) - w eps(x, null), w = scale - 1, in float64; null is class 3 of 3."""
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 1))
    asked, null = np.array([2, 0, 1]), 3
    t = jnp.float32(0.5)
    alpha, sigma = (float(f(t)) for f in (recipe.schedule.alpha, recipe.schedule.sigma))
    towards, away = (
        0.4 * x + np.tanh(x + c) for c in (asked[:, None, None, None], np.float64(null))
    )
    w = SCALE - 1
    expected = (x - sigma * ((1 + w) * towards - w * away)) / alpha
    got = recipe.guided(Params(None), jnp.asarray(asked))(jnp.asarray(x, jnp.float32), t)
    np.testing.assert_allclose(got.x0, expected, rtol=1e-5, atol=1e-5)


def test_the_class_that_guidance_starts_from_is_the_one_that_training_drops_to(recipe):
    count, model = recipe.train.batch, recipe.model
    model.told.clear()
    ones = jnp.ones(count, jnp.int32)
    batch = Batch(jnp.zeros((count, 8, 8, 1)), ones, jnp.arange(count))
    recipe.loss_fn()(Params(None), batch, recipe.train_key(), ())
    recipe.guided(Params(None), ones)(batch.x0, jnp.float32(0.5))
    trained, towards, away = map(set, map(np.ndarray.tolist, model.told))
    assert towards == {1} and trained == {1} | away and away == {recipe.null}
