"""Weights that a loss borrows of another run: arguments of the program, on any devices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import constant_bytes, one_device, two_devices

from ddm_jax.diffusion.losses.base import Batch, Terms
from ddm_jax.training.averages import Ema
from ddm_jax.training.base import Constants
from ddm_jax.training.step import init_state, make_train_step

pytestmark = pytest.mark.usefixtures("quick_compilation")

SIZE, WIDTH = 8, 1100
RNG = np.random.default_rng(5)
TEACHER = (RNG.normal(size=(WIDTH, WIDTH)) / 33).astype(np.float32)
X0 = RNG.normal(size=(SIZE, WIDTH)).astype(np.float32)
MEGABYTE = 2**20


class Distil:
    """A gain and a shift of each output are to make x + noise what the teacher makes of it."""

    def prepare(self, feed, constants):
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
    make = make_train_step(task, tx, ema, axis=layout.axis)
    step = layout.compile(make, (False, True, False, False), 0)
    batch = layout.shard(Batch(X0, None, np.arange(SIZE, dtype=np.int32)))
    constants = Constants(None, {"teacher": {"w": TEACHER}})
    return step, [layout.replicate(state), batch, *layout.replicate((constants, jax.random.key(3)))]


def test_two_devices_learn_from_a_teacher_what_one_learns():
    found = []
    for layout in (one_device(), two_devices()):
        step, (state, *rest) = begin(layout, Distil())
        for _ in range(3):
            state, metrics = step(state, *rest)
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
