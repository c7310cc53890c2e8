"""Whole runs: resuming bit for bit after any end, and stopping well."""

import dataclasses
import os
import shutil
import signal
import socket
import sys
import threading
import time

import jax
import numpy as np
import pytest
from conftest import (
    FAST,
    ROOT,
    TINY,
    answer,
    as_trained,
    assert_same_state,
    constant_bytes,
    images_of,
    launch,
    ok,
    one_device,
    start,
    state_of,
    two_devices,
    wait_for,
)
from PIL import Image

from ddm_jax import files
from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import data_options
from ddm_jax.data import sources
from ddm_jax.errors import RunError
from ddm_jax.tasks.diffusion import Diffusion
from ddm_jax.training import logs, saving
from ddm_jax.training.layout import Layout
from ddm_jax.training.watchdog import STALLED, Watchdog
from ddm_jax.verbs import reading, training
from ddm_jax.verbs.opened import open_run

QUICK = ("--config", "configs/quickstart.py", *TINY)
MLP = (
    *QUICK,
    "--config.model.name=mlp",
    "--config.condition.name=nothing",
    "--config.model.mlp.hidden=(64,)",
    "--config.optim.lr=5e-3",
    "--config.guidance.name=none",
)


@pytest.mark.slow
def test_resuming_gives_the_uninterrupted_run_bit_for_bit(tmp_path):
    """Also with times drawn by the losses seen, a memory that is part of the state."""
    run, constant = tmp_path / "run", tmp_path / "constant"
    arguments = (
        *QUICK,
        "--config.optim.decay=constant",
        "--config.time_sampler.name=importance",
        "--config.schedule.cosine.num_timesteps=3",
        "--config.time_sampler.importance.history=2",
    )
    ok(launch(*arguments, "--workdir", run, "--config.train.steps=3", **FAST))
    ok(launch(*arguments, "--workdir", constant, **FAST))
    assert "memory" in state_of(run)[1].keys()
    assert "resuming at step 3" in ok(launch(*arguments, "--workdir", run, **FAST)).stdout
    assert_same_state(run, constant)
    losses = [
        {row["step"]: row["loss"] for row in logs.read(r / "metrics.jsonl")}
        for r in (run, constant)
    ]
    assert losses[0][6] == losses[1][6]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_and_is_not_saved(tmp_path):
    run = tmp_path / "run"
    result = launch(
        *MLP,
        "--workdir",
        run,
        "--config.optim.name=sgd",
        "--config.optim.lr=1e30",
        "--config.optim.clip=0",
        "--config.optim.warmup=0",
        "--config.train.save_every=1",
        **FAST,
    )
    assert result.returncode == 1
    assert "loss" in result.stderr and "noise level" in result.stderr
    assert result.stderr.count("\n") == 1
    _, fields = state_of(run)
    for leaf in fields["params"].values():
        assert np.isfinite(leaf).all()


def damage(run):
    """Empty every file of the weights of every checkpoint."""
    for path in run.glob("checkpoints/*/params/**/*"):
        if path.is_file():
            path.write_bytes(b"")


@pytest.mark.parametrize("harm", [damage, lambda run: shutil.rmtree(run / "checkpoints")])
def test_a_run_whose_checkpoints_are_all_lost_stops_and_keeps_its_metrics(
    harm, tiny_run, at_root, quick_compilation, capsys, tmp_path
):
    run = tmp_path / "run"
    as_trained(tiny_run, run)
    before = (run / "metrics.jsonl").read_bytes()
    harm(run)
    for _ in range(2):
        code, _, err = answer(capsys, *QUICK, "--workdir", run)
        assert code == 1 and err.startswith("stopped: ") and err.count("\n") == 1
        assert "Put a good copy back" in err and "another --workdir" in err
        assert (run / "metrics.jsonl").read_bytes() == before
    assert len(list(run.glob("damaged/*"))) == (2 if harm is damage else 0)


@pytest.mark.slow
def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_anew(
    tiny_run, at_root, quick_compilation, capsys, tmp_path
):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.json", "data.json", "metrics.jsonl"):
        shutil.copy(tiny_run / name, run)
    code, out, err = answer(capsys, *QUICK, "--workdir", run, "--config.train.steps=3")
    assert (code, err) == (0, "") and "finished step 3" in out
    assert [row["step"] for row in logs.read(run / "metrics.jsonl")] == [2, 3]


def test_a_run_is_done_once_it_has_ended_and_no_longer_while_it_goes_on(
    tiny_run, at_root, quick_compilation, monkeypatch, capsys, tmp_path
):
    """And one of a version that wrote no done.json is done again without a step."""
    run, loss = tmp_path / "run", logs.read(tiny_run / "metrics.jsonl")[-1]["loss"]
    as_trained(tiny_run, run)
    done = files.read_json(run / "done.json")
    count = open_run(run).setup.parameter_count()
    assert (done["step"], done["loss"], done["parameters"]) == (6, loss, count)
    assert reading.is_finished(run, 6)
    (run / "done.json").unlink()
    assert not reading.is_finished(run, 6) and reading.result(run).status == "partial"
    code, out, err = answer(capsys, *QUICK, "--config.sample.film=0", "--workdir", run)
    assert (code, err) == (0, "") and "resuming at step 6" in out and "wrote" not in out
    assert reading.result(run).status == "finished" and reading.result(run).loss == pytest.approx(
        loss
    )

    def stop(*_):
        raise RunError("in the middle")

    with monkeypatch.context() as patch:
        patch.setattr(training, "write_state", stop)
        code, _, err = answer(capsys, *QUICK, "--config.train.steps=8", "--workdir", run)
    assert code == 1 and "in the middle" in err
    assert reading.result(run).status == "partial" and not reading.is_finished(run, 6)


def test_sampling_gives_exactly_what_was_asked_as_png_and_arrays(
    tiny_run, quick_compilation, capfd
):
    arrays, path = images_of(capfd, tiny_run, "--config.sample.count=7", "--config.sample.batch=3")
    assert arrays["images"].shape == (7, 8, 8, 1) and arrays["images"].dtype == np.uint8
    assert arrays["labels"].tolist() == list(range(7)) and arrays["index"].tolist() == [*range(7)]
    with Image.open(path.with_suffix(".png")) as picture:
        assert picture.width > picture.height > 50
    chosen, _ = images_of(capfd, tiny_run, "--config.sample.classes=4,2", "--config.sample.seed=3")
    assert chosen["labels"].tolist() == [4, 2, 4, 2, 4, 2]
    assert not np.array_equal(chosen["images"][:6], arrays["images"][:6])


@pytest.fixture(scope="module")
def mlp():
    """(setup, data) of a run of three steps."""
    config = load_config(str(ROOT / "configs/quickstart.py"))
    settings = (*MLP[2:], "--config.train.steps=3", "--config.train.sample_every=1")
    config = override(config, [*settings, "--config.train.log_every=1"])
    data = sources.load(data_options(config))
    return assemble(config, data.spec), data


def replaced(setup, **settings):
    """A setup with other settings of training."""
    return dataclasses.replace(setup, train=dataclasses.replace(setup.train, **settings))


class Notes:
    """A preview that notes what it is shown."""

    def __init__(self):
        self.calls = []

    def begin(self, params):
        self.calls.append(("begin",))

    def draw(self, params, step, say):
        self.calls.append(("draw", step))

    def end(self, params, step, say):
        self.calls.append(("end", step))
        self.params = jax.device_get(params)


def test_what_a_run_draws_is_given_to_the_loop(mlp, quick_compilation, tmp_path):
    setup, data = mlp
    notes = Notes()
    assert training.train(setup, data, tmp_path, one_device(), preview=notes) == 0
    drawn = [("draw", step) for step in (1, 2, 3)]
    assert notes.calls == [("begin",), *drawn, ("end", 3)]
    _, saved = state_of(tmp_path)
    for leaf, kept in zip(jax.tree.leaves(notes.params), saved["ema_params"].values(), strict=True):
        np.testing.assert_array_equal(leaf, kept)
    written = {path.name for path in tmp_path.iterdir()}
    assert "done.json" in written and not written & {"samples", "forward.png"}


def test_a_checkpoint_that_fails_ends_the_run_at_its_next_row(
    mlp, quick_compilation, monkeypatch, tmp_path
):
    def fail(self):
        raise RunError("the disk")

    setup, data = mlp
    monkeypatch.setattr(saving.Checkpoints, "check", fail)
    with pytest.raises(RunError, match="the disk"):
        training.train(setup, data, tmp_path, one_device(), preview=Notes())
    assert logs.metrics(tmp_path) == [] and not (tmp_path / "done.json").exists()


def test_what_is_drawn_is_saved_before(mlp, quick_compilation, monkeypatch, tmp_path):
    """A drawing that fails, or takes longer than a scheduler waits, costs no step."""
    setup, data = mlp
    notes = Notes()

    def fails(params, step, say):
        if step == 2:
            raise ZeroDivisionError

    monkeypatch.setattr(notes, "draw", fails)
    with pytest.raises(ZeroDivisionError):
        training.train(setup, data, tmp_path, one_device(), preview=notes)
    assert state_of(tmp_path)[0] == 2


@pytest.mark.parametrize(
    ("ignored", "code", "last"), [(False, 129, 1), (True, 0, 3)], ids=["terminal", "nohup"]
)
def test_a_terminal_that_closes_stops_a_run_which_saves(
    ignored, code, last, mlp, quick_compilation, monkeypatch, tmp_path
):
    setup, data = mlp
    notes = Notes()
    monkeypatch.setattr(notes, "draw", lambda *_: signal.raise_signal(signal.SIGHUP))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        assert training.train(setup, data, tmp_path, one_device(), preview=notes) == code
        assert signal.getsignal(signal.SIGHUP) == (signal.SIG_IGN if ignored else signal.SIG_DFL)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert state_of(tmp_path)[0] == last
    assert (tmp_path / "done.json").exists() == (code == 0)


def waits_for_data():
    """Whether the main thread, twice in a row, is where batches are awaited."""

    def seen():
        frame, names = sys._current_frames()[threading.main_thread().ident], set()
        while frame:
            names.add(frame.f_code.co_name)
            frame = frame.f_back
        time.sleep(0.2)
        return "awaited" in names

    return seen() and seen()


@pytest.fixture
def data_that_stop_coming(monkeypatch):
    """The batch of step 3 never comes; what is in the list is called once it is waited for."""
    whole, never, told = training.feed, threading.Event(), []

    def some(data, k, *given, **how):
        if k == 2:
            while not waits_for_data():
                pass
            for then in told:
                then()
            never.wait()
        return whole(data, k, *given, **how)

    monkeypatch.setattr(training, "feed", some)
    yield told
    never.set()


def test_a_signal_ends_a_run_that_waits_for_data_and_no_step_is_lost(
    mlp, quick_compilation, data_that_stop_coming, tmp_path
):
    setup, data = mlp
    setup = replaced(setup, save_every=100, sample_every=0)
    data_that_stop_coming.append(lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert training.train(setup, data, tmp_path, one_device(), preview=Notes()) == 143
    assert state_of(tmp_path)[0] == 2


def test_a_run_whose_data_stop_coming_says_so_saves_and_ends(
    mlp, quick_compilation, data_that_stop_coming, monkeypatch, tmp_path, capfd
):
    setup, data = mlp
    setup = replaced(setup, save_every=100, sample_every=0, hang_timeout=3600.0)
    dogs = []

    class Known(Watchdog):
        def __init__(self, timeout, heeded):
            super().__init__(timeout, heeded)
            dogs.append(self)

    def hurry():
        """The hour is a second from now on, however long the program took to compile."""
        dogs[0].timeout = 1.0
        dogs[0]._noted.send(b"\0")

    monkeypatch.setattr(training, "Watchdog", Known)
    data_that_stop_coming.append(hurry)
    assert training.train(setup, data, tmp_path, one_device(), preview=Notes()) == STALLED
    out, err = capfd.readouterr()
    assert "no step for 1 s" in err and "in awaited" in err and "in some" in err
    assert "stopped by the wait for data; step 2 is saved" in out
    assert state_of(tmp_path)[0] == 2 and not (tmp_path / "done.json").exists()


def test_a_run_that_nobody_reads_saves_and_ends(mlp, quick_compilation, monkeypatch, tmp_path):
    setup, data = mlp
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as output, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", output)
        os.close(reader)
        code = training.train(setup, data, tmp_path, one_device(), preview=Notes())
    assert code == 128 + signal.SIGPIPE and state_of(tmp_path)[0] == 1
    assert [row["step"] for row in logs.read(tmp_path / "metrics.jsonl")] == [1]


def test_borrowed_weights_reach_the_loss_as_arguments(
    mlp, quick_compilation, monkeypatch, tmp_path
):
    """The loop's own program has none of their numbers within; what a closure would give is big."""
    setup, data = mlp
    loss, compiled, sizes = Diffusion.loss, Layout.compile, []
    weights = np.random.default_rng(0).normal(1000.0, 1.0, (1200, 1000)).astype(np.float32)

    def taught(self, params, batch, key, borrowed, view):
        terms = loss(self, params, batch, key, borrowed=borrowed, view=view)
        return terms._replace(loss=terms.loss + borrowed["teacher"]["w"].mean())

    def measured(self, step, *arguments):
        program = compiled(self, step, *arguments)

        def call(*given):
            sizes.append(constant_bytes(program, *given))
            return program(*given)

        return call

    monkeypatch.setattr(Diffusion, "loss", taught)
    monkeypatch.setattr(Layout, "compile", measured)
    borrowed = {"teacher": {"w": weights}}
    assert (
        training.train(setup, data, tmp_path, two_devices(), preview=Notes(), borrowed=borrowed)
        == 0
    )
    assert len(sizes) == 3 and max(sizes) < 2**20 < 4 * 2**20 < weights.nbytes
    for row in logs.read(tmp_path / "metrics.jsonl"):
        assert 900 < row["loss"] < 1100
    assert not any("teacher" in key for leaves in state_of(tmp_path)[1].values() for key in leaves)


def start_two(run, config, *arguments):
    """Two processes with two devices each, on one run."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        where = ("--coordinator", f"localhost:{free.getsockname()[1]}", "--processes", 2)
    arguments = (*config, *arguments, "--workdir", run, *where)
    return [start(*arguments, "--process", i, devices=2, **FAST) for i in range(2)]


def end_of_two(both, code=0, second=None):
    """What both said, but for what the runtime says of its connections."""
    outputs = [process.communicate(timeout=300)[0] for process in both]
    outputs = ["".join(k for k in o.splitlines(True) if "[Gloo]" not in k) for o in outputs]
    assert [p.returncode for p in both] == [code, code if second is None else second], "\n".join(
        outputs
    )
    return outputs


@pytest.mark.slow
def test_two_processes_both_end_where_the_checkpoints_are_lost(tmp_path):
    end_of_two(start_two(tmp_path / "run", MLP, "--config.train.steps=3"))
    damage(tmp_path / "run")
    first, second = end_of_two(start_two(tmp_path / "run", MLP), 1)
    assert "Put a good copy back" in first and "another process cannot go on" in second


@pytest.mark.slow
def test_two_processes_stop_at_the_same_step_when_one_is_told_to(tmp_path):
    endless = ("--config.train.steps=100000", "--config.train.save_every=100000")
    both = start_two(tmp_path / "run", MLP, *endless)
    wait_for(both[0], "step 4/")
    both[1].send_signal(signal.SIGTERM)
    first, _ = end_of_two(both, 143)
    step, _ = state_of(tmp_path / "run")
    assert f"stopped by signal 15; step {step:,} is saved" in first


@pytest.mark.slow
@pytest.mark.parametrize("path", ["forward.part", "samples/step_3.png", "loss.png"])
def test_two_processes_both_end_where_the_first_cannot_write(path, tmp_path):
    """Before the loop, within it, after it: neither waits for the other."""
    (tmp_path / "run" / path).mkdir(parents=True)
    (tmp_path / "run" / path / "in the way").touch()
    both = start_two(tmp_path / "run", MLP, "--config.train.sample_every=3")
    first, second = end_of_two(both, 1)
    assert "Error: " in first and path.rsplit("/")[-1] in first
    *transport, last = filter(None, second.splitlines())
    assert last == "stopped: another process cannot go on, and says why"
    assert all("peer ranks" in line for line in transport)  # it says that it is connected


@pytest.mark.slow
def test_two_processes_sample_and_evaluate_like_one(tiny_run, tmp_path):
    """Each a share of an odd number; only the first speaks and writes, and none is left waiting."""
    run = tmp_path / "run"
    as_trained(tiny_run, run)
    settings = ("--config.sample.count=7", "--config.sample.film=3", "--config.sample.batch=2")
    few = ("count=5", "steps=4", "ode_steps=3", "batch=2")
    settings += tuple(f"--config.evaluate.{s}" for s in few)
    found = {}
    for verb in ("sample", "evaluate"):
        mode = ("--mode", verb, *settings)
        first, second = end_of_two(start_two(run, mode))
        assert "on 4 x cpu on 2 process" in first and "wrote" in first and second == ""
        found[verb] = results_of(run)
        shutil.rmtree(run / ("samples" if verb == "sample" else "evaluation"))
        ok(launch(*mode, "--workdir", run, **FAST))
        one = results_of(run)
        assert one.keys() == found[verb].keys() and one
        for name, array in one.items():
            np.testing.assert_allclose(found[verb][name], array, rtol=1e-4, atol=1e-4, err_msg=name)
        shutil.rmtree(run / ("samples" if verb == "sample" else "evaluation"))


@pytest.mark.slow
def test_two_processes_both_end_where_the_first_cannot_sample(tiny_run, tmp_path):
    run = tmp_path / "run"
    as_trained(tiny_run, run)
    shutil.rmtree(run / "checkpoints")
    first, second = end_of_two(start_two(run, ("--mode", "sample")), 2, 1)
    assert "no usable checkpoint" in first and first.count("\n") == 1
    assert "another process cannot go on" in second and second.count("\n") == 1


def results_of(run):
    """The arrays of `--mode sample` and `--mode evaluate` in a run's folder, by name."""
    found = {}
    for path in run.glob("samples/*.npz"):
        with np.load(path) as arrays:
            found |= {f"{path.name} {k}": arrays[k] for k in ("images", "index", "labels")}
    for path in run.glob("evaluation/*.json"):
        rows = files.read_json(path)["per_example"]
        found |= {f"{path.name} {name}": np.array(row) for name, row in rows.items()}
    return found
