"""Weights that a loss borrows of another run: arguments of the program, on any devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import ROOT, constant_bytes, one_device, two_devices

from ddm_jax.config.assemble import assemble, make_task
from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import complete, data_options
from ddm_jax.data import sources
from ddm_jax.data.pipeline import feed
from ddm_jax.diffusion.losses.base import Batch, Terms
from ddm_jax.training.averages import Ema
from ddm_jax.training.base import Constants
from ddm_jax.training.layout import Layout
from ddm_jax.training.sharded import Sharded
from ddm_jax.training.step import init_state, make_train_step

pytestmark = pytest.mark.usefixtures("quick_compilation")

SIZE, WIDTH = 8, 1100
RNG = np.random.default_rng(5)
TEACHER = (RNG.normal(size=(WIDTH, WIDTH)) / 33).astype(np.float32)
X0 = RNG.normal(size=(SIZE, WIDTH)).astype(np.float32)
MEGABYTE = 2**20


class Distil:
    """A gain and a shift of each output are to make x + noise what the teacher makes of it."""

    def prepare(self, feed, constants, key):
        return feed

    def teacher(self, borrowed):
        return borrowed["teacher"]["w"]

    def loss(self, params, batch, key, borrowed, view):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch.place)
        x = batch.x0 + jax.vmap(lambda k: jax.random.normal(k, (WIDTH,)))(keys)
        away = params["gain"] * x + params["shift"] - x @ self.teacher(borrowed)
        near = (params["shift"] - view.average["shift"]) ** 2
        return Terms((away**2 + near).sum(1) / 10, None, jnp.ones(len(x)))

    def remember(self, memory, t, loss):
        return memory + loss


class Closing(Distil):
    """The error that is forbidden: the weights are part of the program."""

    def teacher(self, borrowed):
        return jnp.asarray(TEACHER)


def begin(layout, task):
    """(step, arguments of it) on a layout."""
    params = {"gain": jnp.ones(WIDTH), "shift": jnp.zeros(WIDTH)}
    tx, ema = optax.sgd(0.5), Ema(0.5)
    state = init_state(params, tx, ema, jnp.zeros(SIZE))
    make = functools.partial(make_train_step, task, tx, ema)
    step = layout.compiled_steps(make, lambda: state)
    batch = layout.shard(Batch(X0, None, np.arange(SIZE, dtype=np.int32)))
    constants = Constants(None, {"teacher": {"w": TEACHER}})
    return step, [layout.place(state), (batch,), *layout.replicate((constants, jax.random.key(3)))]


@pytest.mark.parametrize("kind", [Layout, Sharded])
def test_two_devices_learn_from_a_teacher_what_one_learns(kind):
    """And from the average, of which each device may have a part."""
    found = []
    for layout in (one_device(), kind(two_devices().devices)):
        step, (state, *rest) = begin(layout, Distil())
        for _ in range(3):
            state, (metrics,) = step(state, *rest)
        found.append(jax.device_get((state, metrics.loss)))
    (one, loss), (two, _) = found
    assert np.abs(one.params["gain"] - 1).max() > 0.05 and loss > 0
    for name in ("params", "ema_params", "step"):
        for a, b in zip(*(jax.tree.leaves(getattr(s, name)) for s in (one, two)), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(one.memory, two.memory, rtol=1e-5)


@pytest.mark.parametrize("devices", [one_device, two_devices])
def test_no_borrowed_weight_is_part_of_the_program(devices):
    assert TEACHER.nbytes > 4 * MEGABYTE
    step, arguments = begin(devices(), Distil())
    assert constant_bytes(step, *arguments) < MEGABYTE
    step, arguments = begin(devices(), Closing())
    assert constant_bytes(step, *arguments) > 4 * MEGABYTE


def learning_from(teacher):
    """(setup, data) of a small student, whose objective asks that teacher."""
    config = complete(load_config(str(ROOT / "configs/base.py")))
    settings = ("model.name=mlp", "model.mlp.hidden=(16,)", "train.batch=16", "optim.name=sgd")
    settings += ("optim.lr=0.5", "objective.name=teacher", "teacher.run=runs/x")
    config = override(config, [f"--config.{s}" for s in settings])
    data = sources.load(data_options(config))
    return assemble(config, data.spec, {"teacher": teacher}), data


@pytest.mark.slow
def test_two_devices_learn_from_a_run_what_one_learns_and_hold_none_of_it():
    """Through the objective and the model of the run, three steps of SGD."""
    config = complete(load_config(str(ROOT / "configs/base.py")))
    wide = ("--config.model.name=mlp", "--config.model.mlp.hidden=(1100,1100)")
    spec = sources.load(data_options(config)).spec
    teacher = make_task(override(config, wide), spec, {})
    weights = jax.tree.map(lambda a: a + 0.01, teacher.init(jax.random.key(1)))
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(weights)) > 4 * MEGABYTE
    setup, data = learning_from(teacher)
    found = []
    for layout in (one_device(), two_devices()):
        step = setup.compiled_steps(layout)
        state = layout.replicate(setup.init_state())
        rest = layout.replicate((Constants(None, {"teacher": weights}), setup.train_key()))
        for k in range(3):
            batch = layout.shard(
                feed(data, k, 16, setup.seed, augment=setup.task.augment, by_index=False)
            )
            if k == 0:
                assert constant_bytes(step, state, (batch,), *rest) < MEGABYTE
            state, (metrics,) = step(state, (batch,), *rest)
        found.append((jax.device_get(state), float(metrics.loss)))
    (one, loss), (two, same) = found
    assert loss > 0 and loss == pytest.approx(same, rel=1e-5)
    leaves = map(jax.tree.leaves, (one.params, two.params, setup.init_params()))
    moved = []
    for a, b, fresh in zip(*leaves, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
        moved.append(np.abs(a - fresh).max())
    assert max(moved) > 1e-3
