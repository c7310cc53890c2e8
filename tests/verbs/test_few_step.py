"""Runs of few steps: started from a run of one time, distilled from it, resumed and sampled."""

import jax
import numpy as np
import pytest
from conftest import FAST, ROOT, SHORT, TINY_UNET, answer, images_of, launch, ok, state_of

pytestmark = pytest.mark.usefixtures("quick_compilation")

SMALL = (
    *("--config", str(ROOT / "configs/base.py")),
    *("--config.model.name=mlp", "--config.model.mlp.hidden=(64,)"),
    *(a for a in SHORT if a.startswith(("--config.train", "--config.sample"))),
    *("--config.schedule.name=flow", "--config.prediction.name=velocity"),
    *("--config.noise_cond.name=time", "--config.timesteps.name=trailing"),
)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, quick_compilation):
    """A run of one time."""
    run = tmp_path_factory.mktemp("teacher") / "run"
    ok(launch(*SMALL, "--workdir", run, **FAST))
    return run


def train(capsys, run, *settings):
    return answer(capsys, *SMALL, *(f"--config.{s}" for s in settings), "--workdir", run)


@pytest.mark.telling
@pytest.mark.slow
@pytest.mark.parametrize("objective", ["mean_flow", "improved_mean_flow", "shortcut"])
def test_jumps_start_from_a_run_of_one_time(objective, teacher, tmp_path, capsys):
    """Its weights are all taken; what is told of the second time starts at zero, and is trained."""
    run, name = tmp_path / "run", f"objective.name={objective}"
    more = (f"objective.{objective}.apart=0.75", f"init.run={teacher}")
    code, out, err = train(capsys, run, name, *more, "train.steps=3")
    assert code == 0 and "1 arrays do not fit and start afresh: .net['gap']['kernel']" in out, err
    code, out, err = train(capsys, run, name, *more, "train.steps=6")
    assert code == 0 and "resuming at step 3" in out, err
    leaves = jax.tree_util.tree_leaves_with_path(state_of(run)[1]["params"])
    (told,) = (leaf for path, leaf in leaves if "gap" in jax.tree_util.keystr(path))
    assert abs(np.asarray(told)).max() > 0
    drawn = [images_of(capsys, run, f"--config.sample.steps={n}") for n in (1, 2)]
    assert drawn[0][1] != drawn[1][1]
    assert (drawn[0][0]["images"] != drawn[1][0]["images"]).any()


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["consistency_distillation", "progressive"])
def test_steps_are_distilled_from_another_run(objective, teacher, tmp_path, capsys):
    run = tmp_path / "run"
    sampler = "ddim" if objective == "progressive" else "consistency"
    asked = (f"objective.name={objective}", f"sampler.name={sampler}", "sample.steps=2")
    taught = (f"teacher.run={teacher}", f"init.run={teacher}")
    code, _, err = train(capsys, tmp_path / "none", *asked)
    assert code == 2 and "name it with --config.teacher.run=" in err, err
    code, out, err = train(capsys, run, *asked, *taught, "train.steps=3")
    assert code == 0 and "every array is taken" in out and not err, err
    code, out, err = train(capsys, run, *asked, *taught, "train.steps=6")
    assert code == 0 and "resuming at step 3" in out, err
    assert images_of(capsys, run)[0]["images"].shape[0] == 6


@pytest.mark.slow
def test_a_network_of_two_times_is_not_exported(tmp_path, capsys):
    run = tmp_path / "run"
    config = ("--config", str(ROOT / "configs/quickstart.py"), *TINY_UNET, "--config.train.steps=3")
    two_times = "--config.objective.name=shortcut"
    code, _, err = answer(capsys, *config, two_times, "--workdir", run)
    assert code == 0, err
    export = ("--mode", "export", "--workdir", run, "--folder", tmp_path / "out")
    code, _, err = answer(capsys, *export)
    assert code == 2 and "told of two times" in err and err.count("\n") == 1, err
