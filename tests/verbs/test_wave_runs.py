"""Waves pass through every verb, or are refused in one line."""

import re
import shutil

import numpy as np
import pytest
from conftest import ROOT, keys

import launch
from ddm_jax.data import sources, tones
from ddm_jax.data.dataset import DataOptions
from ddm_jax.data.wav import read_wav, write_wav

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]

TINY = (
    *("data.count=80", "data.size=(160,)", "model.ddpm_unet.channels=8"),
    *("model.ddpm_unet.multipliers=(1,)", "model.ddpm_unet.patch=8", "optim.warmup=0"),
    *("train.steps=2", "train.batch=8", "train.log_every=1", "augment.name=mirror"),
    *("sample.count=12", "sample.batch=12", "sample.steps=3", "sample.film=0"),
    *("evaluate.samples=12", "evaluate.batch=12", "doctor.examples=12", "doctor.samples=0"),
)
CONFIG = f"{ROOT}/configs/tones.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, quick_compilation):
    """A run of two steps on tones, with classes."""
    run = tmp_path_factory.mktemp("waves") / "run"
    assert launch.main(["--config", CONFIG, "--workdir", str(run), *keys(*TINY)]) == 0
    return run


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def arrays(folder):
    (path,) = folder.glob("*.npz")
    with np.load(path) as found:
        return dict(found)


@pytest.mark.telling
def test_samples_are_waves_that_can_be_seen_and_heard(run, tmp_path):
    asked = keys("sample.ask=('A3 220 Hz',)", "sample.film=2")
    assert launch.main(["--mode", "sample", "--workdir", str(run), *asked]) == 0
    found = arrays(run / "samples")
    x = found["images"]
    assert x.shape == (12, 160, 1) and x.dtype == np.float32 and abs(x).max() <= 1
    assert (found["labels"] == tones.CLASSES.index("A3 220 Hz")).all()
    (sound,) = (run / "samples").glob("step_2_ddim*.wav")
    heard = read_wav(sound)
    assert heard.rate == 8000
    np.testing.assert_allclose(heard.samples, x.ravel(), atol=4e-5)
    assert len(list((run / "samples").glob("*_film_2.*"))) == 2
    page = tmp_path / "page.html"
    assert launch.main(["--mode", "report", "--workdir", str(run), "--out", str(page)]) == 0


def test_the_picture_of_a_run_is_not_its_spectrogram(run):
    from ddm_jax.verbs.reading import newest_grid

    grid = newest_grid(run)
    assert grid == run / "samples" / "step_2.png"
    assert (run / "samples" / "step_2_spectrogram.png").exists()


@pytest.mark.parametrize("name", ["interpolate", "sdedit", "invert", "inpaint"])
def test_edits_of_waves(name, run):
    edit = keys(f"edit.name={name}", "edit.interpolate.frames=3")
    edit += keys(f"edit.{name}.count=2") if name != "interpolate" else []
    edit += keys("edit.inpaint.mask=right", "edit.inpaint.rounds=1") if name == "inpaint" else []
    assert launch.main(["--mode", "edit", "--workdir", str(run), *edit]) == 0
    found = arrays(run / "edits")
    data = sources.load(DataOptions(name="tones", count=80, size=(160,))).columns["x"]
    if name == "interpolate":
        assert found["images"].shape == (3, 160, 1)
    else:
        np.testing.assert_array_equal(found["original"], data[:2])
    if name == "inpaint":
        np.testing.assert_array_equal(found["result"][:, :80], data[:2, :80])
        assert abs(found["result"][:, 80:] - data[:2, 80:]).min(1).max() > 0


def test_a_null_space_holds_the_means_of_blocks(run):
    edit = keys("edit.name=inpaint", "edit.inpaint.count=2", "edit.inpaint.method=null_space")
    edit += keys("edit.inpaint.given=low", "edit.inpaint.factor=4")
    assert launch.main(["--mode", "edit", "--workdir", str(run), *edit]) == 0
    found = arrays(run / "edits")
    means = [found[name].reshape(2, 40, 4).mean(-1) for name in ("result", "original")]
    inside = abs(found["result"]).reshape(2, 40, 4).max(-1) < 1  # where nothing was clipped
    assert inside.any()
    np.testing.assert_allclose(means[0][inside], means[1][inside], atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        (("edit.name=inpaint", "edit.inpaint.mask=top"), "name one of centre, outer, left, right"),
        (("edit.name=inpaint", "edit.inpaint.mask=150,20"), "does not lie in a wave of 160"),
        (("edit.name=sdedit", "edit.sdedit.image=me.wav"), "take its own examples"),
    ],
)
def test_edits_that_waves_do_not_have_are_refused_in_a_line(settings, remedy, run, capsys):
    assert launch.main(["--mode", "edit", "--workdir", str(run), *keys(*settings)]) == 2
    error = capsys.readouterr().err
    assert remedy in error and error.count("\n") == 1


def test_waves_are_measured_and_examined(run, capsys):
    where = ("--workdir", str(run))
    assert launch.main(["--mode", "evaluate", *where]) == 0
    said = capsys.readouterr().out
    assert re.search(r"MMD\^2 -?\d", said) and re.search(r"SWD \d", said)
    assert launch.main(["--mode", "evaluate", *where, *keys("evaluate.metrics=bound")]) == 2
    error = capsys.readouterr().err
    assert "tones are continuous; judge the run by its samples" in error
    assert error.count("\n") == 1
    assert launch.main(["--mode", "doctor", *where]) in (0, 1)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        (("features.name=efficientnet_lite0",), "features.name=pixels"),
        (("objective.name=hybrid",), "are continuous"),
        (("condition.name=image",), "condition"),
        (("model.ddpm_unet.patch=7",), "set data.size to a multiple of 7"),
        (
            ("edit.name=inpaint", "edit.inpaint.given=grey", "edit.inpaint.method=null_space"),
            "none",
        ),
        (
            (
                *("edit.name=inpaint", "edit.inpaint.given=low", "edit.inpaint.factor=7"),
                "edit.inpaint.method=null_space",
            ),
            "factor=7 does not divide waves of 160 samples",
        ),
    ],
)
def test_what_waves_have_not_is_refused_in_a_line(settings, remedy, tmp_path, capsys):
    arguments = ["--config", CONFIG, "--dry_run", "--workdir", str(tmp_path)]
    assert launch.main([*arguments, *keys(*TINY, *settings)]) == 2
    error = capsys.readouterr().err
    assert remedy in error and error.count("\n") == 1


def test_recorded_sounds_are_trained_on_but_not_backwards(tmp_path, capsys):
    for k, note in enumerate(("low", "high")):
        (tmp_path / "sounds" / note).mkdir(parents=True)
        for i in range(4):
            wave = tones.tones(np.array([4 * k + i]), 16000, 320).waves[0]
            write_wav(tmp_path / "sounds" / note / f"{i}.wav", wave, 16000)
    (tmp_path / "sounds" / "low" / "text.wav").write_text("no sound")
    source = keys(f"data.name=waves:{tmp_path / 'sounds'}", "data.rate=8000")
    train = ["--config", CONFIG, "--workdir", str(tmp_path / "run"), *keys(*TINY), *source]
    assert launch.main([*train, *keys("augment.name=mirror", "train.steps=1")]) == 0
    said = capsys.readouterr()
    assert "are no such data when mirrored" in said.err and said.err.count("\n") == 1
    assert "resampled to 8,000 samples a second" in said.out
    assert read_wav(tmp_path / "run/samples/step_1.wav").rate == 8000
