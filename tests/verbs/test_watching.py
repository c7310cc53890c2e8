"""A run that is measured while it trains: which step is the best, and that it stays."""

import json
from types import SimpleNamespace

import pytest
from conftest import ROOT, TINY, answer, as_trained, one_device

from ddm_jax.errors import RunError
from ddm_jax.tasks.base import Weights
from ddm_jax.training.checkpoint import Checkpoints
from ddm_jax.verbs import watching
from ddm_jax.verbs.comparing import Result
from ddm_jax.verbs.opened import Loaded
from ddm_jax.verbs.watching import Watch

pytestmark = pytest.mark.usefixtures("quick_compilation")

SETTINGS = (
    *("--config", ROOT / "configs/quickstart.py", *TINY),
    "--config.condition.name=nothing",
    "--config.guidance.name=none",
    "--config.model.name=mlp",
    "--config.model.mlp.hidden=(64,)",
    "--config.train.save_every=100",
    "--config.train.keep=1",
    "--config.train.evaluate_every=2",
    "--config.evaluate.metrics=frechet",
    "--config.evaluate.samples=20",
    "--config.evaluate.reference_count=200",
    "--config.optim.lr=3e-2",
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DDM_JAX_CACHE", str(tmp_path / "cache"))


def rows_of(run):
    lines = (run / "evaluation/results.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.slow
def test_the_best_checkpoint_stays_and_is_what_evaluation_says(tmp_path, capsys):
    run = tmp_path / "run"
    code, out, err = answer(capsys, *SETTINGS, "--workdir", run)
    assert code == 0, err
    rows = rows_of(run)
    assert [row["protocol"]["step"] for row in rows] == [2, 4, 6]
    least = min(rows, key=lambda row: row["value"])
    best = json.loads((run / "best.json").read_text())
    assert best == {
        "step": least["protocol"]["step"],
        "name": "FD@20 (pixels)",
        "value": least["value"],
    }
    kept = Checkpoints(run / "checkpoints", read_only=True).steps()
    assert sorted(kept) == sorted({6, best["step"]})
    assert f"step {best['step']:,} is the best so far by FD@20 (pixels)" in out
    code, _, err = answer(capsys, "--mode", "evaluate", "--workdir", f"{run}@best")
    assert code == 0, err
    assert rows_of(run)[-1] == least


@pytest.mark.slow
def test_an_interrupted_measurement_is_made_when_the_run_goes_on(tmp_path, capsys, monkeypatch):
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert answer(capsys, *SETTINGS, "--workdir", whole)[0] == 0
    measure = Watch.measure

    def interrupted(self, params, step, say):
        if step == 4:
            raise KeyboardInterrupt
        measure(self, params, step, say)

    monkeypatch.setattr(Watch, "measure", interrupted)
    assert answer(capsys, *SETTINGS, "--workdir", run)[0] == 130
    assert [row["protocol"]["step"] for row in rows_of(run)] == [2]
    monkeypatch.setattr(Watch, "measure", measure)
    code, out, _ = answer(capsys, *SETTINGS, "--workdir", run)
    assert code == 0 and "resuming at step 4" in out
    assert rows_of(run) == rows_of(whole)
    assert (run / "best.json").read_text() == (whole / "best.json").read_text()
    other = "--config.train.evaluate_every=3"  # at its end there is nothing to measure
    assert answer(capsys, *SETTINGS, other, "--workdir", run)[0] == 0
    assert rows_of(run) == rows_of(whole)
    for name in ("metrics.jsonl", "evaluation/results.jsonl"):
        with (run / name).open("a") as file:
            file.write('[]\n3\n{}\n{"metric": "frechet", "protocol": []}\n{"loss"')
    assert answer(capsys, *SETTINGS, "--config.train.steps=8", "--workdir", run)[0] == 0
    assert json.loads((run / "done.json").read_text())["step"] == 8


def watch_of(folder, values, metric="frechet", every=1, steps=99):
    """A watch whose evaluations give the values, one after the other."""
    evaluate = SimpleNamespace(metrics=(metric,), weights="averaged")
    train = SimpleNamespace(evaluate_every=every, steps=steps)
    setup = SimpleNamespace(task=SimpleNamespace(evaluate=evaluate), train=train)
    left = iter(values)

    def evaluation(loaded):
        value = next(left)
        if isinstance(value, Exception):
            raise value
        protocol = {"step": loaded.step}
        return [(Result(metric, f"{metric}@20", value, {}, None, protocol), ["said"])]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watching, "make_evaluation", lambda *_: evaluation)
        patch.setattr(watching, "check", lambda _: None)
        opened = SimpleNamespace(folder=folder, setup=setup)
        return Watch(opened, Loaded(0, Weights((), {}), {}), one_device())


@pytest.mark.parametrize(
    "metric, values, best",
    [
        ("frechet", (3.0, 1.0, 2.0), 2),
        ("kid", (1.0, 1.0, 1.0), 1),
        ("bound", (3.0, 2.0, 1.0), 3),
        ("mmd", (2.0, 1.0, 3.0), 2),
        ("sliced_wasserstein", (2.0, 1.0, 3.0), 2),
        ("ode", (2.0, 1.0, 3.0), 2),
        ("agreement", (0.5, 0.9, 0.7), 2),
        ("precision_recall", (0.5, 0.9, 0.7), 2),
        ("density_coverage", (0.5, 0.9, 0.7), 2),
        ("score", (5.0, 4.0, 7.0), 3),
        ("accuracy", (0.5, 0.4, 0.7), 3),
    ],
)
def test_the_best_is_the_lowest_or_the_highest_as_the_metric_says(metric, values, best, tmp_path):
    watch = watch_of(tmp_path, values, metric)
    assert watch.best is None
    for step in (1, 2, 3):
        watch.measure({}, step, print)
    assert watch.best == best


def test_it_is_due_at_multiples_and_at_the_end(tmp_path):
    watch = watch_of(tmp_path, (), every=4, steps=10)
    assert [step for step in range(1, 11) if watch.due(step)] == [4, 8, 10]


def test_what_cannot_be_measured_is_said_and_the_run_goes_on(tmp_path):
    watch, said = watch_of(tmp_path, (2.0, RunError("3 images are not finite"), 1.0)), []
    for step in (1, 2, 3):
        watch.measure({}, step, said.append)
    assert "step 2 is not measured: 3 images are not finite" in said
    assert [row["protocol"]["step"] for row in rows_of(tmp_path)] == [1, 3] and watch.best == 3


def test_a_best_step_that_lies_beyond_is_forgotten(tmp_path):
    """Where a run falls back to an earlier checkpoint."""
    watch = watch_of(tmp_path, (2.0, 1.0, 7.0))
    for step in (4, 8):
        watch.measure({}, step, print)
    watch.begin({}, 8, print)
    assert watch.best == 8
    watch.begin({}, 4, print)
    assert watch.best is None


def test_another_first_metric_begins_anew(tmp_path):
    watch_of(tmp_path, (1.0,)).measure({}, 1, print)
    other = watch_of(tmp_path, (5.0,), "kid")
    other.measure({}, 2, print)
    assert json.loads((tmp_path / "best.json").read_text())["name"] == "kid@20"


@pytest.mark.parametrize(
    "settings, remedy",
    [
        (("evaluate.weights=raw",), "leave evaluate.weights"),
        (("train.evaluate_every=-1",), "0 for never"),
        (("evaluate.metrics=agreement",), "features that tell classes"),
        (("evaluate.metrics=fid",), "choose one of"),
        (("evaluate.metrics=()",), "name some of"),
        (("evaluate.reference=none.npz",), "mu and sigma"),
    ],
)
def test_misuse_is_one_line_before_the_first_step(settings, remedy, tmp_path, capsys):
    arguments = (*SETTINGS, *(f"--config.{text}" for text in settings))
    code, _, err = answer(capsys, *arguments, "--workdir", tmp_path / "run")
    assert code == 2 and remedy in err and err.count("\n") == 1, err
    assert not (tmp_path / "run").exists()


def test_a_folder_of_the_users_own_stays_where_a_run_is_refused(tmp_path, capsys):
    arguments = (*SETTINGS, "--config.evaluate.weights=raw", "--workdir", tmp_path / "run")
    (tmp_path / "run").mkdir()
    assert answer(capsys, *arguments)[0] == 2 and (tmp_path / "run").exists()


def test_a_run_without_a_best_step_says_how_to_have_one(tiny_run, tmp_path, capsys):
    run = as_trained(tiny_run, tmp_path / "run")
    for text in (None, "[]", "{}", '{"step": "x"}'):
        if text:
            (run / "best.json").write_text(text)
        code, _, err = answer(capsys, "--mode", "sample", "--workdir", f"{run}@best")
        assert code == 2 and "train.evaluate_every" in err and err.count("\n") == 1
