"""Augmentations that the network is told of, and that no sample has."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, TINY

from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import complete, data_options
from ddm_jax.data import sources
from ddm_jax.data.pipeline import feed
from ddm_jax.errors import UserError
from ddm_jax.tasks.base import Weights
from ddm_jax.training.base import Constants, View

pytestmark = pytest.mark.usefixtures("quick_compilation")
TOLD = ("--config.augment.name=geometric", "--config.augment.geometric.share=1.0")
MLP = ("--config.model.name=mlp", "--config.model.mlp.hidden=(8,)")


def assembled(*arguments):
    config = complete(load_config(f"{ROOT}/configs/quickstart.py"))
    config = override(config, [*TINY, *arguments])
    data = sources.load(data_options(config))
    return assemble(config, data.spec), data


@pytest.fixture(scope="module")
def told():
    """A setup that tells, a batch of it, and weights whose output is not zero."""
    setup, data = assembled(*TOLD, "--config.loss.class_dropout=1.0")
    fed = feed(data, 0, 8, 0, augment=setup.task.augment, by_index=False)
    batch = setup.task.prepare(fed, Constants(None, {}), setup.train_key())
    params = setup.init_params()
    rng = np.random.default_rng(1)
    moved = jax.tree.map(lambda a: a + jnp.float32(0.1 * rng.normal(size=a.shape)), params)
    return setup, batch, params, moved


@pytest.fixture(scope="module")
def losses(told):
    """(params, labels) -> losses (8,), compiled once."""
    setup, batch, params, _ = told
    task, view = setup.task, View(jnp.zeros((), int), params, setup.task.memory())

    @jax.jit
    def of(params, labels):
        changed = batch._replace(augment_labels=labels)
        return task.loss(params, changed, setup.train_key(), borrowed={}, view=view).loss

    return of


def test_the_network_reads_the_label_even_where_the_class_is_dropped(told, losses):
    setup, batch, fresh, moved = told
    assert batch.augment_labels.shape == (8, 11) and (batch.augment_labels != 0).any(1).all()
    known, untold = losses(moved, batch.augment_labels), losses(moved, 0 * batch.augment_labels)
    assert (abs(known - untold) > 1e-6).all()
    blank = moved._replace(augment=0 * moved.augment)
    np.testing.assert_array_equal(losses(blank, batch.augment_labels), untold)
    assert fresh.augment.shape == (11, setup.task.model.net.width) and not fresh.augment.any()


def test_samples_are_those_of_pictures_as_they_are(told):
    """They do not depend on how the network is told of changes."""
    setup, _, _, moved = told
    generate = jax.jit(setup.task.generator.generate)
    one = generate(Weights(moved), np.arange(2))
    other = generate(Weights(moved._replace(augment=10 * moved.augment)), np.arange(2))
    np.testing.assert_array_equal(one, other)


def test_a_network_that_cannot_be_told_is_refused():
    nothing = ("condition.name=nothing", "loss.class_dropout=0.0", "guidance.name=none")
    untold = [f"--config.{setting}" for setting in nothing]
    with pytest.raises(UserError, match="does not read; take augment.name=none"):
        assembled(*TOLD, *MLP, *untold)


def test_runs_that_are_not_told_have_no_matrix_for_it():
    setup, _ = assembled("--config.augment.name=none")
    assert jax.eval_shape(setup.init_params).augment == ()
