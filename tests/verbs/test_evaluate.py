"""Evaluation of a tiny run: what it writes, and that no batch or device count changes it."""

import contextlib
import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import one_device, two_devices

import launch
from ddm_jax.data import sources
from ddm_jax.data.dataset import NoSplit
from ddm_jax.errors import UserError
from ddm_jax.evaluation import bits
from ddm_jax.evaluation.bits import variance
from ddm_jax.tasks.base import Weights
from ddm_jax.verbs.evaluating import examples, make_measure
from ddm_jax.verbs.opened import open_run

FEW = (
    "--config.evaluate.count=5",
    "--config.evaluate.steps=4",
    "--config.evaluate.ode_steps=3",
)


pytestmark = pytest.mark.usefixtures("quick_compilation")


def answer(capsys, run, *settings):
    code = launch.main(["--mode", "evaluate", "--workdir", str(run), *settings])
    return code, *capsys.readouterr()


def test_it_prints_and_writes_both_estimates(tiny_run, capsys):
    code, out, err = answer(capsys, tiny_run, *FEW)
    assert (code, err) == (0, "")
    assert "variational bound" in out and "ODE likelihood" in out and "TRAINED ON" in out
    (path,) = (tiny_run / "evaluation").glob("step_6_train_seed_0_*.json")
    result = json.loads(path.read_text())
    assert result["data"] == {"name": "digits", "split": "train", "held_out": False}
    assert result["settings"]["variance"] == "large" and result["examples"] == 5
    bound = result["bound"]
    np.testing.assert_allclose(bound["times"], [1, 2 / 3, 1 / 3, 0], atol=1e-6)
    assert (len(bound["kl"]), len(bound["x0_mse"])) == (3, 4)
    assert bound["mean"] == pytest.approx(sum(p["mean"] for p in bound["parts"].values()), rel=1e-5)
    assert bound["parts"]["kl"]["mean"] == pytest.approx(sum(bound["kl"]), rel=1e-5)
    for mean, row in ((bound["mean"], "bound"), (result["ode"]["mean"], "ode")):
        assert np.mean(result["per_example"][row]) == pytest.approx(mean, rel=1e-6)
    assert f"{result['ode']['mean']:.4f} +- {result['ode']['standard_error']:.4f}" in out


def measured(setup, **options):
    """The setup with other settings of `evaluate`."""
    evaluate = dataclasses.replace(setup.task.evaluate, **options)
    return dataclasses.replace(setup, task=dataclasses.replace(setup.task, evaluate=evaluate))


@pytest.mark.slow
def test_an_example_is_the_same_for_every_batch_size_and_device_count(tiny_run):
    setup = open_run(tiny_run).setup
    data, _, _ = examples(setup, print)
    params = jax.tree.map(lambda a: a + 0.01, setup.init_params())  # no longer at rest
    index = np.array([3, 50, 700, 1200, 1796])
    rows, metrics = {}, setup.task.evaluate.metrics
    for batch, layout in ((5, one_device()), (3, two_devices())):
        measure = make_measure(measured(setup, steps=3, ode_steps=2, batch=batch), layout, metrics)
        rows[batch] = measure(layout.replicate(Weights(params)), data, index, print)
    bound = rows[5]["bound"]
    assert bound["kl"].shape == (5, 2) and bound["total"].std() > 0
    for metric, found in rows[5].items():
        for name, row in found.items():
            other = rows[3][metric][name]
            np.testing.assert_allclose(other, row, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_the_published_decoder_changes_the_decoder_alone(tiny_run, capsys, monkeypatch):
    monkeypatch.setattr(bits, "ode_bits", lambda *a, **k: a[2].mean((1, 2, 3)))
    few = [f"--config.evaluate.{s}" for s in ("count=2", "batch=2", "steps=50", "seed=1")]
    results = {}
    for decoder in ("x0", "published"):
        code, out, err = answer(capsys, tiny_run, *few, f"--config.evaluate.decoder={decoder}")
        assert (code, err) == (0, "") and f"large variance, {decoder} decoder" in out
        path = next(line for line in out.splitlines() if line.startswith("wrote ")).split()[1]
        result = json.loads(Path(path).read_text())
        assert result["settings"]["decoder"] == decoder
        results[decoder] = result
    bounds = [result["bound"]["parts"] for result in results.values()]
    for part in ("prior", "kl"):
        assert bounds[0][part] == pytest.approx(bounds[1][part], rel=1e-6)
    assert abs(bounds[0]["decoder"]["mean"] - bounds[1]["decoder"]["mean"]) > 1e-4


@pytest.mark.parametrize(
    "setting, remedy",
    [
        ("variance=learned", "choose one of large, small"),
        ("decoder=ddpm", "choose one of published, x0"),
        ("trace=hutchinson", "choose one of exact, normal, rademacher"),
        ("steps=1", "at least 2, or 0"),
        ("count=0", "at least 1"),
        ("split=test", "leave evaluate.split empty"),
        ("cout=3", "did you mean 'evaluate.count'"),
    ],
)
def test_misuse_is_answered_in_one_line(tiny_run, capsys, setting, remedy):
    code, _, err = answer(capsys, tiny_run, f"--config.evaluate.{setting}")
    assert code == 2 and remedy in err and err.count("\n") == 1


def test_the_test_split_is_taken_where_there_is_one(tiny_run, monkeypatch):
    setup = open_run(tiny_run).setup
    asked = []
    monkeypatch.setattr(sources, "load", lambda options, report: asked.append(options.split))
    tfds = dataclasses.replace(setup, data=dataclasses.replace(setup.data, name="tfds:mnist"))
    assert examples(tfds, print)[1:] == ("test", True)
    assert examples(measured(tfds, split="train"), print)[1:] == ("train", False)
    assert asked == ["test", "train"]


@pytest.mark.parametrize(
    "error, taken",
    [(NoSplit("told in other words"), True), (UserError("split of the disk: full"), False)],
)
def test_without_a_test_split_what_was_trained_on_is_taken(error, taken, tiny_run, monkeypatch):
    """Where it is the split that lacks, and not where the data cannot be read at all."""
    setup = open_run(tiny_run).setup
    tfds = dataclasses.replace(setup, data=dataclasses.replace(setup.data, name="tfds:mnist"))

    def load(options, report):
        if options.split == "test":
            raise error

    monkeypatch.setattr(sources, "load", load)
    with contextlib.nullcontext() if taken else pytest.raises(UserError, match="disk"):
        assert examples(tfds, print) == (None, "train", False)


def test_the_variance_is_the_setting_where_none_was_learned(tiny_run):
    setup = open_run(tiny_run).setup
    assert variance(measured(setup, variance="small").task) == "small"
