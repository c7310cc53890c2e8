"""What follows steps that are not finite, as the config has it."""

import dataclasses
import json
import shutil
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import ROOT, TINY, answer, keys, one_device, state_of

from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config
from ddm_jax.config.tables import data_options
from ddm_jax.data import sources
from ddm_jax.data.pipeline import Stretch
from ddm_jax.diffusion.losses.base import Batch, Terms
from ddm_jax.errors import RunError
from ddm_jax.options.training import TrainOptions
from ddm_jax.tasks.diffusion import Diffusion
from ddm_jax.training import logs
from ddm_jax.training.averages import Ema
from ddm_jax.training.base import Constants
from ddm_jax.training.step import Metrics, init_state, make_train_step
from ddm_jax.verbs.bad_steps import BadSteps

pytestmark = pytest.mark.usefixtures("quick_compilation")

EACH = keys("train.log_every=1", "train.save_every=2", "train.keep=9", "train.steps=8")
DIGITS = sources.load(data_options(load_config(str(ROOT / "configs/quickstart.py")))).spec
FINITE = [n not in (2, 4, 5, 7, 8, 10, 11, 13, 14) for n in range(1, 20)]
RUN = ("--config", ROOT / "configs/quickstart.py", *TINY, *EACH)


@pytest.fixture
def spoil(monkeypatch):
    """spoil(3, 5): losses of the third step and of the fifth are no numbers."""
    loss = Diffusion.loss

    def spoilt(*steps):
        def bad(self, *args, view, **kwargs):
            terms = loss(self, *args, view=view, **kwargs)
            there = jnp.isin(view.step + 1, jnp.array(steps))
            return terms._replace(loss=jnp.where(there, jnp.nan, terms.loss))

        monkeypatch.setattr(Diffusion, "loss", bad)

    return spoilt


def lines(run):
    return logs.read(run / "bad_steps.jsonl")


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_guarded_step_leaves_everything_but_counts_of_steps_as_it_was():
    """Where the loss, the gradient or the update alone is not finite; else it is the step."""

    class Rugged:
        """Finite but at w > 1, where the loss, or at u > 1, where the slope alone is not."""

        def prepare(self, feed, constants, key):
            return feed

        def remember(self, memory, t, loss):
            return memory + loss.mean()

        def loss(self, params, batch, key, borrowed, view):
            steep = jnp.sqrt(jnp.where(params["u"] > 1, 0 * params["u"], 1))
            of_w = jnp.where(params["w"] > 1, jnp.inf, params["w"] ** 2)
            each = jnp.broadcast_to(of_w + steep, batch.place.shape)
            return Terms(each, None, jnp.ones_like(each))

    def update(grads, state, params=None):
        scale = jnp.where(params["v"] > 1, jnp.inf, -0.1)
        return jax.tree.map(lambda g: scale * (g + 1), grads), state

    tx = optax.chain(
        optax.scale_by_adam(), optax.GradientTransformation(lambda p: optax.EmptyState(), update)
    )
    batch = Batch(jnp.zeros((4, 1)), None, jnp.arange(4))
    arguments = batch, Constants(None, {}), jax.random.key(0)
    plain, guarded = (
        jax.jit(make_train_step(Rugged(), tx, Ema(), guarded=g).whole()) for g in (False, True)
    )
    fine = {"u": jnp.float32(0.5), "v": jnp.float32(0.5), "w": jnp.float32(0.5)}
    state = init_state(fine, tx, Ema(), jnp.float32(3.0))
    state = plain(state, *arguments)[0]
    same(*(step(state, *arguments) for step in (plain, guarded)))
    for name in "uvw":
        spoilt = state._replace(params=fine | {name: jnp.float32(2.0)})
        after, metrics = guarded(spoilt, *arguments)
        assert not metrics.finite
        assert (int(after.step), int(after.opt_state[0].count)) == (2, 2)
        kept = after._replace(step=spoilt.step, opt_state=spoilt.opt_state)
        same(kept, spoilt)
        same(after.opt_state[0].mu, spoilt.opt_state[0].mu)
        worse, metrics = plain(spoilt, *arguments)
        assert metrics.finite == (name == "v")  # an update is looked at where it is saved
        assert not all(np.isfinite(leaf) for leaf in jax.tree.leaves(worse))


def test_a_step_that_is_skipped_is_told_and_leaves_the_weights(spoil, capsys, tmp_path):
    spoil(3, 4)
    run = tmp_path / "run"
    skip = ("--config.train.on_bad_step=skip", "--config.train.save_every=1")
    code, out, err = answer(capsys, *RUN, *skip, "--workdir", run)
    assert (code, err) == (0, "")
    told = [line for line in out.splitlines() if "its update is left out" in line]
    assert len(told) == 2 and told[0].startswith("step 3: loss nan") and "bad_steps" in told[0]
    saved = {step: state_of(run, step)[1] for step in (2, 3, 4, 5)}
    for field in ("params", "ema_params"):
        same(saved[2][field], saved[4][field])
    changed = jax.tree.map(lambda a, b: (a != b).any(), saved[4]["params"], saved[5]["params"])
    assert any(changed.values())
    counts = [a.tolist() for a in saved[4]["opt_state"].values() if a.dtype == np.int32]
    assert counts and set(counts) == {4}
    assert [row["step"] for row in logs.metrics(run)] == [1, 2, 5, 6, 7, 8]

    config = load_config(str(run / "config.json"))
    count = json.loads((run / "data.json").read_text())["count"]
    stretch = Stretch(count, config.train.batch, config.seed)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), 1), 2)
    first, second = lines(run)
    assert (first["step"], second["step"]) == (3, 4)
    assert first["examples"] == stretch.indices(2).tolist()
    assert first["key"] == jax.random.key_data(key).tolist()
    assert first["then"] == "skip" and first["loss"] == "nan"


@pytest.mark.slow
def test_a_run_that_stopped_goes_on_where_steps_are_skipped(spoil, capsys, tmp_path):
    """And ends in the same bits as one that skipped them from the start."""
    spoil(3)
    skip, ends = ("--config.train.on_bad_step=skip",), []
    for number, settings in enumerate((((), skip), (skip,))):
        run = tmp_path / str(number)
        codes = [answer(capsys, *RUN, *s, "--workdir", run)[0] for s in settings]
        assert codes == [1, 0][-len(codes) :]
        ends.append((dict(state_of(run)[1]), lines(run)))
    same(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1] and len(ends[0][1]) == 1


def followed(setup, folder, then, *, step=0):
    """(what went_wrong says of steps that are finite or not, until it raises; lines of the file)"""
    options = dataclasses.replace(setup.train, on_bad_step=then, bad_steps=2)
    setup = dataclasses.replace(setup, train=options)
    nothing: Any = SimpleNamespace(steps=list)
    bad = BadSteps(setup, one_device(), folder, step, checkpoints=nothing, say=lambda line: None)
    said = []
    for number, finite in enumerate(FINITE[step:], step + 1):
        loss = np.float32(1.0 if finite else np.nan)
        try:
            said.append(bad.went_wrong(number, Metrics(loss, loss, np.array(finite))))
        except RunError as error:
            said.append(str(error))
            break
    return said, [(row["step"], row["then"]) for row in lines(folder)]


def test_only_so_many_in_a_row_count_and_three_rollbacks(tmp_path):
    """Steps 2 and 4 are by themselves; 5, 8, 11 and 14 are the second in a row."""
    setup = assemble(load_config(str(ROOT / "configs/quickstart.py")), DIGITS)
    said, rows = followed(setup, tmp_path, "rollback")
    assert said[:-1] == [n in (5, 8, 11) for n in range(1, 14)]
    assert "step 14: loss nan" in said[-1] and "after 3 rollbacks" in said[-1]
    skipped = [(n, "skip") for n in (2, 4, 7, 10, 13)]
    back = [(n, "rollback") for n in (5, 8, 11)]
    assert rows == sorted([*skipped, *back, (14, "stop")])
    for cut in (12, 10, 6, 5, 4):  # a run that was cut there, as between two in a row
        again, same_rows = followed(setup, tmp_path, "rollback", step=cut)
        assert again == said[cut:] and same_rows == rows

    (tmp_path / "stop").mkdir()
    said, rows = followed(setup, tmp_path / "stop", "stop")
    assert said[:-1] == 4 * [False] and "step 5: loss nan" in said[-1]
    assert "after" not in said[-1] and rows == [(2, "skip"), (4, "skip"), (5, "stop")]


def test_going_back_takes_the_newest_checkpoint_and_goes_on_from_there(spoil, capsys, tmp_path):
    """With the next examples; and a run that is killed after it ends in the same bits."""
    spoil(5)
    run, again = tmp_path / "run", tmp_path / "again"
    back = ("--config.train.on_bad_step=rollback",)
    code, out, _ = answer(capsys, *RUN, *back, "--workdir", run)
    assert code == 0 and "step 6: the weights are those of step 4 again" in out
    (_, before), (_, after), (_, end) = (state_of(run, step) for step in (4, 6, 8))
    for field in ("params", "ema_params"):
        same(before[field], after[field])
    for name, leaf in after["opt_state"].items():
        later = 2 if leaf.dtype == np.int32 else 0
        np.testing.assert_array_equal(leaf, before["opt_state"][name] + later)
    assert int(next(iter(after["step"].values()))) == 6
    assert any((end["params"][k] != after["params"][k]).any() for k in end["params"])

    shutil.copytree(run, again)
    (again / "done.json").unlink()
    with (again / "bad_steps.jsonl").open("a") as file:  # broken by whatever
        file.write('{"step": "5", "then": "rollback"}\n[]\n{"step"')
    for step in (6, 8):
        shutil.rmtree(again / f"checkpoints/{step}")
    assert answer(capsys, *RUN, *back, "--workdir", again)[0] == 0
    same(dict(state_of(again, 8)[1]), dict(end))
    assert lines(again) == lines(run) and len(lines(run)) == 1


@pytest.mark.slow
def test_there_is_no_going_back_without_a_checkpoint(spoil, capsys, tmp_path):
    spoil(3)
    back = keys("train.on_bad_step=rollback", "train.save_every=6")
    code, _, err = answer(capsys, *RUN, *back, "--workdir", tmp_path / "run")
    assert code == 1 and "no checkpoint yet to go back to" in err and err.count("\n") == 1


def test_the_settings_are_checked(capsys, tmp_path):
    assert not TrainOptions().forgives and TrainOptions(bad_steps=2).forgives
    for setting in ("train.on_bad_step=ignore", "train.bad_steps=0"):
        code, _, err = answer(capsys, *RUN, *keys(setting), "--workdir", tmp_path / "run")
        assert code == 2 and err.count("\n") == 1 and setting.partition("=")[0][6:] in err
