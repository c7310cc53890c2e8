"""Runs that draw from pictures: trained, previewed, asked, measured and resumed."""

import json

import jax
import numpy as np
import pytest
from conftest import ROOT, answer, images_of
from PIL import Image

import launch
from ddm_jax.data import sources
from ddm_jax.tasks.generator import Asked
from ddm_jax.verbs import previews
from ddm_jax.verbs.opened import open_run

pytestmark = pytest.mark.usefixtures("quick_compilation")

SMALL = (
    *("model.name=mlp", "model.mlp.hidden=(16,)", "data.count=20", "optim.warmup=0"),
    *("prediction.name=x0", "weighting.simple.space=v"),
    *("train.batch=8", "train.steps=2", "train.sample_every=0", "train.save_every=1"),
    *("sample.count=24", "sample.batch=8", "sample.steps=2", "sample.film=2"),
    "loss.class_dropout=0.2",
)
TRAIN = ("--config", ROOT / "configs/shapes_upscale.py", *(f"--config.{s}" for s in SMALL))


@pytest.fixture(scope="module")
def drawn():
    """Previews as they were drawn."""
    return []


@pytest.fixture(scope="module")
def run(tmp_path_factory, drawn, quick_compilation):
    write = previews.pictures.write_preview
    with pytest.MonkeyPatch.context() as patch:

        def seen(generator, origins, images, path):
            drawn.append(images)
            write(generator, origins, images, path)

        patch.setattr(previews.pictures, "write_preview", seen)
        folder = tmp_path_factory.mktemp("upscale") / "run"
        assert launch.main([*map(str, TRAIN), "--workdir", str(folder)]) == 0
    return folder


@pytest.fixture
def small(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "small.png")
    return tmp_path / "small.png"


def test_previews_are_of_the_pictures_of_the_first_examples(run, drawn):
    """From the first again, where there are not enough."""
    opened = open_run(run)
    task, weights = opened.setup.task, opened.load().weights
    data = sources.load(opened.setup.data)
    index = np.arange(24) % 20
    asked = Asked(task.model.condition.raw(data.rows(index)), np.zeros(24, np.int32))
    expected = jax.jit(task.generator.generate_as)(weights, np.arange(24), asked)
    np.testing.assert_allclose(drawn[0], expected, atol=1e-5)
    assert {"step_2_film.png", "step_2_film.gif"} <= {p.name for p in (run / "samples").iterdir()}


def edited(capsys, run, *arguments):
    """Arrays of `--mode edit`."""
    code, _, err = answer(capsys, "--mode", "edit", "--workdir", run, *arguments)
    assert code == 0, err
    newest = max((run / "edits").glob("*.npz"), key=lambda path: path.stat().st_mtime_ns)
    with np.load(newest) as arrays:
        return {name: arrays[name] for name in arrays}


@pytest.mark.slow
def test_edits_take_the_pictures_of_examples_and_files_and_need_some(run, small, capsys):
    sdedit = ("--config.edit.name=sdedit", "--config.edit.sdedit.count=2")
    own = edited(capsys, run, *sdedit, f"--config.edit.sdedit.image={small}")
    assert len(own["result"][0]) == 1 and len(edited(capsys, run, *sdedit)["result"][0]) == 2
    code, _, err = answer(capsys, "--mode", "edit", "--workdir", run)
    assert code == 2 and "as in --prompt small.png" in err and err.count("\n") == 1


@pytest.mark.slow
def test_upscaling_is_sampling_under_the_picture(run, small, capfd):
    upscale = ("--config.edit.name=upscale", "--config.edit.upscale.count=3")
    got = edited(capfd, run, *upscale)
    opened = open_run(run)
    task, weights = opened.setup.task, opened.load().weights
    rows = sources.load(opened.setup.data).rows(np.arange(3))
    asked = Asked(task.model.condition.raw(rows), np.zeros(3, np.int32))
    expected = jax.jit(task.generator.generate_as)(weights, np.arange(3), asked)
    np.testing.assert_allclose(got["result"], expected, atol=1e-5)
    blocks = rows["x"].reshape(3, 8, 2, 8, 2, 3).mean((2, 4)) / 255
    np.testing.assert_allclose(got["picture"], blocks.repeat(2, 1).repeat(2, 2), atol=1e-6)
    np.testing.assert_allclose(got["original"], rows["x"] / 255, atol=1e-6)
    one = edited(capfd, run, *upscale, f"--config.edit.upscale.image={small}")
    sampled, _ = images_of(capfd, run, "--prompt", small, "--config.sample.count=1")
    assert "original" not in one
    np.testing.assert_allclose(one["result"], sampled["images"] / 255, atol=0.51 / 255)


def test_upscaling_needs_a_model_that_is_told_pictures(tiny_run, capsys):
    arguments = ("--mode", "edit", "--workdir", tiny_run, "--config.edit.name=upscale")
    code, _, err = answer(capsys, *arguments)
    assert code == 2 and "condition.name=image" in err and err.count("\n") == 1


def test_sampling_needs_a_picture_and_says_so(run, capsys):
    code, _, err = answer(capsys, "--mode", "sample", "--workdir", run)
    assert code == 2 and "as in --prompt small.png" in err and err.count("\n") == 1


def test_samples_are_of_the_pictures_that_are_asked_for(run, small, tmp_path, capfd):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.jpg")
    two = ("--prompt", small, "--prompt", tmp_path / "red.jpg", "--config.sample.film=0")
    two = (*two, "--config.sample.count=4")
    arrays, path = images_of(capfd, run, *two)
    assert arrays["images"].shape == (4, 16, 16, 3) and "labels" not in arrays
    assert arrays["asked"].tolist() == [str(small), str(tmp_path / "red.jpg")] * 2
    guided = ("--config.guidance.name=classifier_free", "--config.guidance.classifier_free.scale=3")
    other, _ = images_of(capfd, run, *two, *guided, f"--config.sample.avoid={small}")
    assert np.isfinite(other["images"]).all() and (other["images"] != arrays["images"]).any()
    Image.new("RGB", (8, 8), "blue").save(small)
    changed, again = images_of(capfd, run, *two)
    assert again != path  # under the same name stands another picture
    assert (changed["images"][0] != arrays["images"][0]).any()
    np.testing.assert_array_equal(changed["images"][1], arrays["images"][1])


@pytest.mark.slow
def test_it_is_measured_under_its_own_pictures(run, capsys):
    few = (f"--config.evaluate.{s}" for s in ("count=4", "steps=3", "ode_steps=2"))
    code, out, err = answer(capsys, "--mode", "evaluate", "--workdir", run, *few)
    assert code == 0 and "bits/dim" in out, err


@pytest.mark.slow
def test_a_run_of_an_earlier_version_goes_on(run, capsys):
    plain = json.loads((run / "data.json").read_text())
    assert plain.pop("picture") == [] and plain["sha256"].pop() == ""
    (run / "data.json").write_text(json.dumps(plain))
    longer = ("--config.train.steps=3", "--workdir", run)
    code, out, err = answer(capsys, *TRAIN, *longer)
    assert code == 0 and "resuming at step 2" in out, err
    assert len(json.loads((run / "data.json").read_text())["sha256"]) == 5


@pytest.mark.slow
def test_a_run_on_noised_pictures_goes_on_and_draws_at_a_level_that_may_change(
    small, tmp_path, capfd
):
    run = tmp_path / "run"
    noisy = (*TRAIN, "--config.condition.image.noise=0.4", "--workdir", run)
    code, _, err = answer(capfd, *noisy)
    assert code == 0, err
    level = "--config.condition.image.sampling_noise={}".format
    code, out, err = answer(capfd, *noisy, "--config.train.steps=3", level(0.2))
    assert code == 0 and "resuming at step 2" in out, err
    drawn = [images_of(capfd, run, "--prompt", small, level(s)) for s in (0.0, 0.4)]
    assert drawn[0][1] != drawn[1][1]
    assert (drawn[0][0]["images"] != drawn[1][0]["images"]).any()
    code, _, err = answer(
        capfd, "--mode", "sample", "--workdir", run, "--prompt", small, level(0.5)
    )
    assert code == 2 and "sampling_noise=0.5 must lie in [0, noise=0.4]" in err
    code, _, err = answer(capfd, *noisy, "--config.condition.image.noise=0.5")
    assert code == 2 and "holds a run with other settings: condition.image.noise" in err


@pytest.mark.slow
def test_pairs_of_a_folder_are_trained_on(tmp_path, capsys):
    for k in range(4):
        for side, size in (("input", (6, 4)), ("target", (12, 8))):
            (tmp_path / "pairs" / side).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size, (60 * k, 0, 0)).save(tmp_path / "pairs" / side / f"{k}.png")
    own = (f"data.name=folder:{tmp_path / 'pairs'}", "data.size=()", "condition.image.factor=0")
    where = (
        *(f"--config.{s}" for s in (*own, "sample.count=2", "sample.film=0")),
        "--workdir",
        tmp_path / "run",
    )
    code, _, err = answer(capsys, *TRAIN, *where, "--config.augment.name=mirror")
    assert code == 0, err
    spec = json.loads((tmp_path / "run/data.json").read_text())
    assert spec["picture"] == [4, 6, 3] and spec["shape"] == [8, 12, 3]
    prompt = ("--prompt", tmp_path / "pairs/input/2.png")
    code, out, err = answer(capsys, "--mode", "sample", "--workdir", tmp_path / "run", *prompt)
    assert code == 0 and "wrote" in out, err
