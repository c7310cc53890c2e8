"""Points in the plane pass through every verb, or are refused in one line."""

import re
import shutil

import numpy as np
import pytest
from conftest import ROOT, keys

import launch
from ddm_jax.data.points import POINT_SETS
from ddm_jax.data.sources import load
from ddm_jax.evaluation.sets.base import FeatureSet
from ddm_jax.evaluation.sets.sliced import SlicedWasserstein

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]

TINY = (
    *("data.count=300", "model.residual_mlp.channels=8", "model.residual_mlp.depth=1"),
    *("optim.warmup=0", "train.steps=2", "train.batch=16", "train.log_every=1"),
    *("sample.count=40", "sample.batch=40", "sample.steps=3", "sample.film=0"),
    *("evaluate.samples=40", "evaluate.batch=40", "doctor.examples=40", "doctor.samples=20"),
)
TOY = f"{ROOT}/configs/toy.py"


@pytest.fixture(scope="module")
def toy(tmp_path_factory, quick_compilation):
    """A run of two steps on moons, with classes."""
    run = tmp_path_factory.mktemp("points") / "run"
    assert launch.main(["--config", TOY, "--workdir", str(run), *keys(*TINY)]) == 0
    return run


def arrays(folder):
    (path,) = folder.glob("*.npz")
    with np.load(path) as found:
        return dict(found)


def test_samples_are_points_of_the_class_that_is_asked_for(toy, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(toy, run)
    asked = keys("sample.ask=('lower',)", "guidance.classifier_free.scale=2", "sample.film=3")
    assert launch.main(["--mode", "sample", "--workdir", str(run), *asked]) == 0
    found = arrays(run / "samples")
    assert found["images"].shape == (40, 2) and found["images"].dtype == np.float32
    assert (found["labels"] == 1).all() and abs(found["images"]).max() <= 2.5
    assert len(list((run / "samples").glob("*_film_3.*"))) == 2


def test_edits_of_points(toy, tmp_path, capsys):
    """A walk begins at its own sample; a point noised a little comes back near where it was."""
    run = tmp_path / "run"
    shutil.copytree(toy, run)
    edit = ["--mode", "edit", "--workdir", str(run)]
    assert launch.main(["--mode", "sample", "--workdir", str(run)]) == 0
    drawn = arrays(run / "samples")["images"]
    walk = keys("edit.interpolate.pair=2,4", "edit.interpolate.frames=5")
    assert launch.main([*edit, *walk]) == 0
    found = arrays(run / "edits")["images"]
    np.testing.assert_allclose(found[[0, -1]], drawn[[2, 4]], atol=1e-5)
    capsys.readouterr()
    assert launch.main([*edit, *keys("edit.name=inpaint")]) == 2
    error = capsys.readouterr().err
    assert "of kind image or wave: moons holds points; take edit.name=sdedit" in error
    assert error.count("\n") == 1


@pytest.mark.telling
def test_points_are_measured_examined_and_reported(toy, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(toy, run)
    where = ("--workdir", str(run))
    assert launch.main(["--mode", "evaluate", *where]) == 0
    said = capsys.readouterr().out
    assert re.search(r"MMD\^2 -?\d", said) and re.search(r"SWD \d", said)
    assert launch.main(["--mode", "evaluate", *where, *keys("evaluate.metrics=ode")]) == 2
    error = capsys.readouterr().err
    assert "moons are continuous; judge the run by its samples" in error
    assert error.count("\n") == 1
    assert launch.main(["--mode", "doctor", *where]) in (0, 1)
    assert "Traceback" not in capsys.readouterr().err
    page = tmp_path / "page.html"
    assert launch.main(["--mode", "report", *where, "--out", str(page)]) == 0 and page.exists()


@pytest.mark.parametrize(
    ("setting", "remedy"),
    [
        ("model.name=ddpm_unet", "takes model.name=residual_mlp"),
        ("condition.name=text", "condition"),
        ("features.name=random", "features.name=pixels"),
        ("objective.name=hybrid", "are continuous"),
    ],
)
def test_what_points_have_not_is_refused_in_a_line(setting, remedy, tmp_path, capsys):
    arguments = ["--config", TOY, "--dry_run", "--workdir", str(tmp_path)]
    assert launch.main([*arguments, *keys(*TINY, setting)]) == 2
    error = capsys.readouterr().err
    assert remedy in error and error.count("\n") == 1


@pytest.mark.parametrize("name", ["moons", "swiss_roll"])
def test_a_trained_toy_draws_near_the_data_and_an_untrained_one_does_not(name, tmp_path):
    """By the sliced Wasserstein distance to points that training has not seen."""
    from ddm_jax.config.load import load_config
    from ddm_jax.config.tables import complete, data_options

    apart = {}
    for steps in (1, 2000):
        run = tmp_path / f"run_{steps}"
        few = keys(f"train.steps={steps}", "sample.film=0", "sample.count=4000")
        assert launch.main(["--config", f"{TOY}:{name}", "--workdir", str(run), *few]) == 0
        assert launch.main(["--mode", "sample", "--workdir", str(run)]) == 0
        data = load(data_options(complete(load_config(f"{TOY}:{name}"))))
        other = POINT_SETS[name].draw(data.spec.count + np.arange(4000)).points
        sets = FeatureSet(arrays(run / "samples")["images"]), FeatureSet(other)
        apart[steps] = SlicedWasserstein().compare(*sets, 0)["sliced_wasserstein"]
    assert apart[2000] < 0.1 and apart[1] > 5 * apart[2000]
