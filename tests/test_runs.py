"""Averaged weights of a run, made of what its checkpoints keep."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddm_jax.errors import UserError
from ddm_jax.runs import averaged_at
from ddm_jax.training.averages import Power
from ddm_jax.training.checkpoint import Checkpoints
from ddm_jax.training.step import TrainState, init_state

WALK = jnp.asarray(3 + np.random.default_rng(0).normal(size=(81, 4)).cumsum(0), jnp.float32)
UPDATE = jax.jit(Power().update, static_argnums=3)
DIRECT = jax.jit(Power((0.08,)).update, static_argnums=3)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Checkpoints at every 8 of 80 steps that were interrupted once, and those of no pause."""
    directory = tmp_path_factory.mktemp("run") / "checkpoints"
    start = init_state({"w": WALK[0]}, optax.sgd(0.1), Power())
    writer, state, memory = Checkpoints(directory, 1, 8), start, start.ema_params
    direct = Power((0.08,)).init({"w": WALK[0]})
    for n in range(1, 81):
        params = {"w": WALK[n]}
        memory, direct = UPDATE(memory, params, n, 4), DIRECT(direct, params, n, 4)
        kept = UPDATE(state.ema_params, params, n, 4)
        state = state._replace(step=jnp.int32(n), params=params, ema_params=kept)
        if n % 8 == 0:
            writer.save(n, state)
        if n == 48:  # what the next process reads
            found = writer.restore(jax.eval_shape(lambda: start), TrainState._fields, print)
            state = TrainState(**found[1])
    writer.close()
    like = jax.eval_shape(lambda: start.ema_params)
    return SimpleNamespace(directory=directory, like=like, memory=memory, kept=kept, direct=direct)


def averaged(run, average, step=80):
    reader = Checkpoints(run.directory, read_only=True)
    place = SimpleNamespace(ema_params=run.like)
    memory = reader.restore(place, ("ema_params",), print, step)[1]["ema_params"]
    return averaged_at(step, memory, average, checkpoints=reader, like=run.like)["w"]


def test_averages_go_on_to_the_last_bit(run):
    jax.tree.map(np.testing.assert_array_equal, run.kept, run.memory)


def test_an_average_of_any_length_is_made_of_checkpoints(run):
    found = averaged(run, Power(length=0.08))
    assert found.dtype == np.float32
    assert np.linalg.norm(found - run.direct[0]["w"]) < 1e-3 * np.linalg.norm(found)
    np.testing.assert_array_equal(averaged(run, Power(length=0.1)), run.memory[1]["w"])
    earlier = averaged(run, Power(length=0.08), 48)
    assert np.linalg.norm(earlier - found) > 0.01 * np.linalg.norm(found)


def test_one_that_they_cannot_give_is_refused(run):
    with pytest.raises(UserError, match="average: length=0.02 .* at 10 checkpoints: .*keep_every"):
        averaged(run, Power(length=0.02))


def test_it_is_made_without_a_checkpoint_that_is_damaged(run, capsys):
    whole = averaged(run, Power(length=0.08))
    for file in (run.directory / "32" / "ema_params").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    found = averaged(run, Power(length=0.08))
    assert "checkpoint 32 is damaged" in capsys.readouterr().out
    np.testing.assert_allclose(found, whole, atol=0.05)
    assert (found != whole).any()
