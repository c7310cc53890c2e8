"""Runs that borrow others: to learn from, to be guided by, to start from; and classifiers alone."""

import json
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import (
    FAST,
    ROOT,
    SHORT,
    answer,
    as_trained,
    images_of,
    launch,
    ok,
    one_device,
    start,
    state_of,
    trained_once,
    wait_for,
)

from ddm_jax.training import logs
from ddm_jax.verbs.opened import open_run

pytestmark = pytest.mark.usefixtures("quick_compilation")

STEPS = tuple(a for a in SHORT if a.startswith(("--config.train", "--config.sample")))
SMALL = (
    *("--config", str(ROOT / "configs/base.py")),
    *("--config.model.name=mlp", "--config.model.mlp.hidden=(64,)", *STEPS),
    *("--config.prediction.name=v", "--config.sample.steps=2"),
)


def train(capsys, run, *settings):
    return answer(capsys, *SMALL, *(f"--config.{s}" for s in settings), "--workdir", run)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A run of a small network without a condition."""
    return trained_once(tmp_path_factory, "teacher", SMALL)


def taught_by(run):
    return ("objective.name=teacher", f"teacher.run={run}")


def files_of(run):
    return {p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != ".lock"}


def test_a_classifier_logs_its_accuracy_and_draws_its_guesses(tiny_classifier):
    row = logs.read(tiny_classifier / "metrics.jsonl")[-1]
    assert 0 <= row["accuracy"] <= 1 and row["loss"] == pytest.approx(np.log(10), abs=0.3)
    assert len(row["accuracy_by_level"]) == len(row["loss_by_level"]) == 10
    assert all(0 <= share <= 1 for share in row["accuracy_by_level"] if share is not None)
    names = {path.name for path in tiny_classifier.iterdir()}
    assert {"accuracy_by_level.png", "loss.png", "guesses", "done.json"} <= names
    assert "samples" not in names and "forward.png" not in names


@pytest.mark.slow
def test_a_classifier_is_evaluated_by_its_accuracy(tiny_classifier, capsys):
    few = ("--config.evaluate.count=20", "--config.evaluate.levels=3")
    code, out, err = answer(capsys, "--mode", "evaluate", "--workdir", tiny_classifier, *few)
    assert (code, err) == (0, "") and "accuracy" in out and "TRAINED ON" in out
    (path,) = (tiny_classifier / "evaluation").glob("*.json")
    found = json.loads(path.read_text())["accuracy"]
    assert found["times"] == [0, 0.5, 1] and len(found["accuracy"]) == len(found["nats"]) == 3


@pytest.mark.parametrize(
    "arguments, remedy",
    [
        (("--mode", "sample"), "it can be used with --mode evaluate"),
        (("--mode", "edit"), "it can be used with --mode evaluate"),
        (("--mode", "evaluate", "--config.evaluate.metrics=bound"), "choose one of accuracy"),
        (("--mode", "evaluate", "--config.evaluate.metrics=()"), "name some of accuracy"),
        (("--mode", "evaluate", "--config.sampler.name=ddim"), "unknown key 'sampler.name'"),
        (("--mode", "evaluate", "--config.task=diffusion"), "the config file sets the task"),
    ],
)
def test_what_a_classifier_is_not_for_is_one_line(tiny_classifier, capsys, arguments, remedy):
    code, _, err = answer(capsys, "--workdir", tiny_classifier, *arguments)
    assert code == 2 and remedy in err and err.count("\n") == 1


def guided_by(run, scale=4):
    return (
        "--config.guidance.name=classifier",
        f"--config.guidance.classifier.run={run}",
        f"--config.guidance.classifier.scale={scale}",
    )


@pytest.mark.slow
def test_samples_are_guided_by_another_run_and_named_by_its_weights(
    tiny_run, tiny_classifier, tmp_path, capfd
):
    run, moved = tmp_path / "run", tmp_path / "elsewhere"
    as_trained(tiny_run, run)
    shutil.copytree(tiny_classifier, moved)
    plain, _ = images_of(capfd, run, "--config.guidance.name=none")
    arrays, path = images_of(capfd, run, *guided_by(tiny_classifier))
    again, same = images_of(capfd, run, *guided_by(moved))
    _, other = images_of(capfd, run, *guided_by(moved, 5))
    assert path == same and other != path
    np.testing.assert_array_equal(arrays["images"], again["images"])
    assert (arrays["images"] != plain["images"]).any()
    guidance = json.loads(str(arrays["settings"]))["guidance"]
    assert guidance["name"] == "classifier" and guidance["run"]["step"] == 6
    assert len(guidance["run"]["sha256"]) == 64 and str(tmp_path) not in str(arrays["settings"])
    before, _ = images_of(capfd, run, *guided_by(f"{moved}@3"))
    assert json.loads(str(before["settings"]))["guidance"]["run"]["step"] == 3


@pytest.mark.slow
def test_autoguidance_takes_an_earlier_step_of_the_run_itself(tiny_run, tmp_path, capfd):
    run = tmp_path / "run"
    as_trained(tiny_run, run)
    auto = ("--config.guidance.name=auto", f"--config.guidance.auto.run={run}@3")
    arrays, _ = images_of(capfd, run, *auto)
    plain, _ = images_of(capfd, run, "--config.guidance.name=none")
    one, _ = images_of(capfd, run, *auto, "--config.guidance.auto.scale=1")
    assert (arrays["images"] != plain["images"]).any()
    np.testing.assert_array_equal(one["images"], plain["images"])


@pytest.mark.parametrize(
    "name, reason",
    [
        ("{tiny_run}", "is a run of task 'diffusion'; this takes one of 'classifier'"),
        ("{tmp_path}/none", "no run in"),
        ("{tiny_classifier}@999", "has no usable step 999; there are: 3, 6"),
        ("", "name it with --config.guidance.classifier.run="),
    ],
)
def test_a_run_that_cannot_be_borrowed_is_one_line(
    name, reason, tiny_run, tiny_classifier, tmp_path, capsys
):
    name = name.format(**locals())
    code, _, err = answer(capsys, "--mode", "sample", "--workdir", tiny_run, *guided_by(name))
    assert code == 2 and reason in err and err.count("\n") == 1, err


def test_a_teacher_may_move_and_not_change(teacher, tmp_path, capsys):
    run, moved = tmp_path / "student", tmp_path / "moved"
    code, _, err = train(capsys, run, *taught_by(teacher), "train.steps=3")
    assert code == 0, err
    record = json.loads((run / "borrowed.json").read_text())["teacher"]
    assert record["run"] == str(teacher) and record["step"] == 6
    shutil.copytree(teacher, moved)
    code, out, err = train(capsys, run, *taught_by(moved), "train.steps=6")
    assert code == 0 and "resuming at step 3" in out, err
    before = files_of(run)
    code, _, err = train(capsys, run, *taught_by(f"{moved}@3"), "train.steps=9")
    assert code == 2 and "as its teacher" in err and err.count("\n") == 1
    assert files_of(run) == before
    # Further training of the teacher changes nothing while the step that was borrowed is kept.
    shutil.copytree(moved / "checkpoints" / "6", moved / "checkpoints" / "7")
    code, _, err = train(capsys, run, *taught_by(moved), "train.steps=7")
    assert code == 0, err


@pytest.mark.slow
@pytest.mark.parametrize("text", ["[]", "{", '{"teacher": 3}', '{"teacher": {"step": "x"}}'])
def test_a_broken_record_of_what_is_borrowed_is_one_line(text, teacher, tmp_path, capsys):
    run = tmp_path / "student"
    shutil.copytree(teacher, run)
    (run / "borrowed.json").write_text(text)
    code, _, err = train(capsys, run, "train.steps=7")
    assert code == 2 and "borrowed.json is broken" in err and err.count("\n") == 1


def test_a_run_starts_from_another_as_far_as_it_fits(teacher, tmp_path, capsys):
    init = f"init.run={teacher}@3"
    still = ("optim.name=sgd", "optim.lr=1e-30", "train.steps=1", init)
    code, out, err = train(capsys, tmp_path / "same", *still)
    assert code == 0 and f"starting from {teacher}@3; every array is taken" in out, err
    taken, own = state_of(tmp_path / "same")[1]["params"], state_of(teacher)[1]["params"]
    assert any((taken[key] != own[key]).any() for key in own)  # step 3 is not step 6
    record = json.loads((tmp_path / "same" / "borrowed.json").read_text())
    assert record["init"]["step"] == 3
    deeper = [a.replace("(64,)", "(64,8)") for a in SMALL]
    settings = [f"--config.{s}" for s in still]
    code, out, err = answer(capsys, *deeper, *settings, "--workdir", tmp_path / "deeper")
    assert code == 0 and "3 arrays do not fit and start afresh" in out, err
    assert "['hidden1']['bias']" in out and "hidden0" not in out
    new = state_of(tmp_path / "deeper")[1]["params"]
    np.testing.assert_array_equal(
        new["..net['hidden0']['kernel']"], taken["..net['hidden0']['kernel']"]
    )
    code, out, _ = train(capsys, tmp_path / "same", *still, "train.steps=2")
    assert code == 0 and "resuming at step 1" in out and "starting from" not in out


def test_a_run_to_start_from_that_is_not_there_leaves_nothing_behind(tmp_path, capsys):
    code, _, err = train(capsys, tmp_path / "run", f"init.run={tmp_path}/none")
    assert code == 2 and "--config.init.run=" in err and err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_kill_leaves_no_trace_in_a_run_with_a_teacher(teacher, tmp_path):
    """SIGKILL between two checkpoints and the same command again: the end is bit-identical."""
    settings = (*taught_by(teacher), "train.steps=400", "train.save_every=40", "train.log_every=20")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    arguments = [*SMALL, *(f"--config.{s}" for s in settings), "--workdir"]
    ok(launch(*arguments, whole, **FAST))
    for mark in ("step 100/400", "step 260/400"):
        process = start(*arguments, cut, **FAST)
        wait_for(process, mark)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    ok(launch(*arguments, cut, **FAST))
    (step, one), (also, other) = state_of(whole), state_of(cut)
    assert step == also == 400
    for name, leaves in one.items():
        for key, leaf in leaves.items():
            np.testing.assert_array_equal(leaf, other[name][key], err_msg=name + key)


def test_features_are_those_of_a_borrowed_classifier(tiny_run, tiny_classifier):
    named = ("features.name=classifier", f"features.classifier.run={tiny_classifier}")
    opened = open_run(tiny_run, [f"--config.{setting}" for setting in named])
    task, weights = opened.setup.task, opened.load(one_device()).weights
    lender = open_run(tiny_classifier)
    own = lender.load(one_device()).weights.params
    x = np.random.default_rng(0).integers(0, 256, (3, *task.spec.shape)).astype(np.float32)

    @jax.jit
    def both(borrowed, own):
        x0 = lender.setup.task.codec.encode(x, {})
        told = lender.setup.task.log_probs(own, x0, jnp.zeros(()))
        return task.features.see(borrowed, x, task.lent), told

    seen, told = both(weights.borrowed[task.features.asks], own)
    assert task.features.classes(task.lent) == task.spec.classes
    np.testing.assert_allclose(seen.log_probs, told, atol=1e-5)
