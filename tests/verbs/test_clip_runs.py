"""Clips and volumes pass through every verb, or are refused in one line."""

import re
import shutil

import numpy as np
import pytest
from conftest import ROOT, keys
from PIL import Image

import launch
from ddm_jax.data import moving_shapes

pytestmark = [pytest.mark.usefixtures("quick_compilation"), pytest.mark.slow]

TINY = (
    *("data.count=40", "model.dit.channels=12", "model.dit.depth=1", "model.dit.heads=2"),
    *("model.ddpm_unet.channels=8", "model.ddpm_unet.multipliers=(1,)"),
    *("optim.warmup=0", "train.steps=2", "train.batch=4", "train.log_every=1"),
    *("sample.count=4", "sample.batch=4", "sample.steps=3", "sample.film=0"),
    *("evaluate.samples=4", "evaluate.batch=4", "evaluate.reference_count=20"),
    *("doctor.examples=4", "doctor.samples=0"),
    "prediction.name=v",  # of x_0 an untrained network draws frames that are all alike
)
SHAPES = {"moving_shapes": (8, 16, 16, 3), "solids": (12, 12, 12, 1)}


@pytest.fixture(scope="module", params=SHAPES)
def trained(request, tmp_path_factory, quick_compilation):
    """(the name of a config, a run of two steps of it)."""
    run = tmp_path_factory.mktemp(request.param) / "run"
    config = f"{ROOT}/configs/{request.param}.py"
    assert launch.main(["--config", config, "--workdir", str(run), *keys(*TINY)]) == 0
    return request.param, run


@pytest.fixture
def run(trained, tmp_path):
    return trained[0], shutil.copytree(trained[1], tmp_path / "run")


def arrays(folder):
    (path,) = folder.glob("*.npz")
    with np.load(path) as found:
        return dict(found)


@pytest.mark.telling
def test_samples_are_drawn_and_clips_play(run, tmp_path):
    name, folder = run
    where = ("--workdir", str(folder))
    assert launch.main(["--mode", "sample", *where, *keys("sample.film=2")]) == 0
    assert arrays(folder / "samples")["images"].shape == (4, *SHAPES[name])
    assert len(list((folder / "samples").glob("*_film_2.*"))) == 2
    played = folder / "samples" / "step_2.gif"
    assert played.exists() == (name == "moving_shapes")
    if played.exists():
        with Image.open(played) as animation:
            assert animation.n_frames == 8
    page = tmp_path / "page.html"
    assert launch.main(["--mode", "report", *where, "--out", str(page)]) == 0


def test_they_are_edited_or_that_is_refused(run, capsys):
    name, folder = run
    edit = ["--mode", "edit", "--workdir", str(folder)]
    assert launch.main([*edit, *keys("edit.name=sdedit", "edit.sdedit.count=2")]) == 0
    assert arrays(folder / "edits")["original"].shape == (2, *SHAPES[name])
    capsys.readouterr()
    assert launch.main([*edit, *keys("edit.name=inpaint")]) == 2
    error = capsys.readouterr().err
    assert (
        "of kind image or wave" in error
        and "take edit.name=sdedit" in error
        and error.count("\n") == 1
    )


def test_they_are_measured_by_their_oracle_and_examined(run, capsys):
    _, folder = run
    where = ("--workdir", str(folder))
    agreement = keys("evaluate.metrics=agreement,mmd", "features.name=oracle")
    assert launch.main(["--mode", "evaluate", *where, *agreement]) == 0
    said = capsys.readouterr().out
    assert re.search(r"agreement@4 \(oracle\) [01]", said)
    assert "data against the same reference: agreement 1.0000" in said
    assert launch.main(["--mode", "doctor", *where]) in (0, 1)
    assert "Traceback" not in capsys.readouterr().err


def test_a_folder_of_clips_is_trained_on_and_its_classes_are_asked_for(tmp_path, capsys):
    clips = moving_shapes.draw(np.arange(6), 8, 12)
    for k, clip in enumerate(clips):
        first, *others = map(Image.fromarray, clip)
        folder = tmp_path / "clips" / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        first.save(folder / f"{k}.gif", save_all=True, append_images=others)
    run = tmp_path / "run"
    config = ("--config", f"{ROOT}/configs/moving_shapes.py", "--workdir", str(run))
    own = keys(*TINY, f"data.name=clips:{tmp_path / 'clips'}", "evaluate.reference_count=6")
    assert launch.main([*config, *own]) == 0
    sample = ("--mode", "sample", "--workdir", str(run), "--prompt", "b")
    assert launch.main([*sample]) == 0
    found = arrays(run / "samples")
    assert found["images"].shape == (4, 8, 12, 12, 3) and (found["labels"] == 1).all()
    capsys.readouterr()
    assert launch.main([*config, *own, "--config.data.frames=4", "--config.train.steps=3"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "data.frames" in error
