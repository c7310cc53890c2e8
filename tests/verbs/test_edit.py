"""The edit mode on a tiny run: what it prints and writes, its laws, and its answers to misuse."""

import json
import re
import shutil

import numpy as np
import pytest
from conftest import two_devices
from PIL import Image

import launch
from ddm_jax.verbs.opened import open_run
from ddm_jax.verbs.sampling import make_draw

INTERPOLATE = ("--config.edit.pair=2,12", "--config.edit.frames=5")
DENOISE = (
    "--config.edit.kind=denoise",
    "--config.edit.first=1",
    "--config.edit.count=5",
    "--config.edit.levels=200,999",
)

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def samples(tiny_run, quick_compilation):
    """Images 0 to 12 of the run."""
    run = open_run(tiny_run)
    weights = run.load(two_devices()).weights
    return make_draw(run.setup.task.generator, two_devices())(weights, 13, print)


def edit(capsys, run, *settings):
    code = launch.main(["--mode", "edit", "--workdir", str(run), *settings])
    return code, *capsys.readouterr()


def arrays_of(path):
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays}


def written(run, stem):
    """The one .npz of `stem`, whose name ends with a digest of the settings."""
    (path,) = (run / "edits").glob(f"{stem}_????????.npz")
    return path


def twice(capsys, run, stem, *settings):
    """(output, path, arrays) of a command that gives bitwise the same when it is run again."""
    code, out, err = edit(capsys, run, *settings)
    assert (code, err) == (0, "")
    path = written(run, stem)
    first = arrays_of(path)
    path.unlink()
    assert edit(capsys, run, *settings)[0] == 0
    for name, array in arrays_of(path).items():
        np.testing.assert_array_equal(array, first[name], err_msg=name)
    return out, path, first


def test_interpolation_leads_from_one_sample_to_the_other(tiny_run, samples, capsys):
    stem = "step_6_interpolate_ddim_3_seed_0_2_12"
    out, path, arrays = twice(capsys, tiny_run, stem, *INTERPOLATE)
    assert "wrote" in out and str(path) in out
    images = arrays["images"]
    assert images.shape == (5, 8, 8, 1) and arrays["pair"].tolist() == [2, 12]
    np.testing.assert_allclose(arrays["weight"], [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(images[0], samples[2], atol=1e-5)
    np.testing.assert_allclose(images[-1], samples[12], atol=1e-5)  # of the same class
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(images[1:], images[:-1], strict=True))
    with Image.open(path.with_suffix(".gif")) as film:
        assert (film.n_frames, film.size) == (8, (256, 256))
    with Image.open(path.with_suffix(".png")) as picture:
        assert picture.width > 5 * 64 and picture.height > 64


def test_a_sampler_that_draws_noise_is_warned_of_and_shares_it(tiny_run, capsys):
    code, _, err = edit(capsys, tiny_run, *INTERPOLATE, "--config.sampler.name=ddpm")
    assert code == 0 and err == "warning: this sampler draws noise, the same in all frames\n"
    arrays = arrays_of(written(tiny_run, "step_6_interpolate_ddpm_3_seed_0_2_12"))
    assert np.isfinite(arrays["images"]).all()


def test_denoising_prints_the_psnr_of_what_it_writes(tiny_run, samples, capsys):
    stem = "step_6_denoise_ddim_3_seed_0_from_1_level_"
    out, _, last = twice(capsys, tiny_run, f"{stem}999", *DENOISE)
    printed = re.findall(r"level (\d+) of 1,000 .*: PSNR ([\d.]+) dB, mean of 5", out)
    for level in (200, 999):
        path = written(tiny_run, f"{stem}{level}")
        arrays = arrays_of(path)
        assert arrays["original"].shape == (5, 8, 8, 1) and arrays["level"] == level
        assert arrays["noised"].shape == arrays["result"].shape == (5, 8, 8, 1)
        assert arrays["index"].tolist() == [1, 2, 3, 4, 5]
        error = ((arrays["result"] - arrays["original"]) ** 2).mean((1, 2, 3))
        np.testing.assert_allclose(arrays["psnr"], 10 * np.log10(1 / error), rtol=1e-4)
        assert (f"{level}", f"{arrays['psnr'].mean():.2f}") in printed
        with Image.open(path.with_suffix(".png")) as picture:
            assert picture.height > 8 * 64
        with Image.open(path.with_suffix(".gif")) as film:
            assert film.n_frames == 3 + (level == 999)  # the times from there on, and the samples
    # At the last level nothing is left of the examples, whose classes are 1 to 5 too.
    np.testing.assert_allclose(last["result"], samples[1:6], atol=1e-2)


def test_the_noised_examples_are_what_the_forward_process_says(tiny_run, capsys):
    """With alpha and sigma of the cosine schedule written out, and noise of unit variance."""
    settings = (*DENOISE[:1], "--config.edit.count=200", "--config.sample.steps=1")
    assert edit(capsys, tiny_run, *settings)[0] == 0
    arrays = arrays_of(written(tiny_run, "step_6_denoise_ddim_1_seed_0_from_0_level_600"))
    assert arrays["level"] == 600
    angle = (601 / 1000 + 0.008) / 1.008 * np.pi / 2
    x0 = 2 * arrays["original"] - 1
    alpha = np.cos(angle) / np.cos(0.008 / 1.008 * np.pi / 2)
    eps = (arrays["noised"] - alpha * x0) / np.sqrt(1 - alpha**2)
    assert abs(eps.mean()) < 0.03 and eps.std() == pytest.approx(1, abs=0.02)
    assert abs((eps * x0).mean()) < 0.03


def test_training_draws_the_forward_process_and_the_way_of_its_samples(tiny_run):
    with Image.open(tiny_run / "forward.png") as picture:
        assert picture.width > 8 * 64 and picture.height > 6 * 64
    with Image.open(tiny_run / "samples/step_6_film.png") as picture:
        assert picture.height > 6 * 64
    with Image.open(tiny_run / "samples/step_6_film.gif") as film:
        assert film.n_frames == 4


@pytest.mark.parametrize(
    "settings, remedy",
    [
        (("kind=interpolat",), "did you mean 'interpolate'? choose one of denoise, interpolate"),
        (("pair=3",), "pair takes two indices"),
        (("pair=0,-1",), "pair takes two indices"),
        (("frames=1",), "frames=1 must be at least 2"),
        (("count=0",), "count must be at least 1"),
        (("kind=denoise", "first=1797"), "digits has 0 to 1796"),
        (("kind=denoise", "levels=5,1000"), "edit.levels holds 1000, but the noise levels are 0"),
        (("kind=denoise", "levels=-1"), "the noise levels are 0 to 999"),
        (("kind=denoise", "levels=a"), "levels takes whole numbers"),
    ],
    ids=lambda a: " ".join(a) if isinstance(a, tuple) else "",
)
def test_misuse_is_answered_in_one_line(tiny_run, settings, remedy, capsys):
    asked = [f"--config.edit.{setting}" for setting in settings]
    code, _, err = edit(capsys, tiny_run, *asked)
    assert code == 2 and remedy in err and err.startswith("error: ") and err.count("\n") == 1
    assert edit(capsys, tiny_run, *asked, "--dry_run") == (2, "", err)


def remove_checkpoints(run):
    shutil.rmtree(run / "checkpoints")


def lose_the_data(run):
    text = (run / "config.json").read_text()
    (run / "config.json").write_text(text.replace('"digits"', '"folder:/nowhere"'))


def change_the_data(run):
    spec = json.loads((run / "data.json").read_text())
    (run / "data.json").write_text(json.dumps({**spec, "count": 1796}))


@pytest.mark.parametrize(
    "harm, remedy",
    [
        (remove_checkpoints, "train first"),
        (lose_the_data, "folder:<path>"),
        (change_the_data, "no longer what the run was trained on: count is 1,797, was 1,796"),
    ],
)
def test_what_is_missing_is_answered_in_one_line(tiny_run, harm, remedy, tmp_path, capsys):
    shutil.copytree(tiny_run, tmp_path / "run")
    harm(tmp_path / "run")
    code, _, err = edit(capsys, tmp_path / "run", "--config.edit.kind=denoise")
    assert code == 2 and remedy in err and err.count("\n") == 1
