"""The edit mode on a tiny run: what it prints and writes, its laws, and its answers to misuse."""

import json
import re
import shutil

import numpy as np
import pytest
from conftest import as_trained, two_devices
from PIL import Image

import launch
from ddm_jax.verbs import names
from ddm_jax.verbs.opened import open_run
from ddm_jax.verbs.sampling import make_draw

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def samples(tiny_run, quick_compilation):
    """Images 0 to 12 of the run."""
    run = open_run(tiny_run)
    weights = run.load(two_devices()).weights
    return make_draw(run.setup.task.generator, two_devices())(weights, 13, print)


def edit(capsys, run, name, *settings):
    """Run the edit `name` with settings of its row, or others by their whole key."""
    code = launch.main(["--mode", "edit", "--workdir", str(run), *keys(name, settings)])
    return code, *capsys.readouterr()


def keys(name, settings):
    whole = [s if "." in s.partition("=")[0] else f"edit.{name}.{s}" for s in settings]
    return [f"--config.{s}" for s in (f"edit.name={name}", *whole)]


def arrays_of(path):
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays}


def done(capsys, run, name, *settings):
    """(output, path, arrays) of an edit that ends well; the path is that of its arrays."""
    code, out, err = edit(capsys, run, name, *settings)
    assert (code, err) == (0, ""), err
    (path,) = {run / "edits" / found for found in re.findall(r"edits/(\S+\.npz)", out)}
    return out, path, arrays_of(path)


@pytest.mark.slow
def test_interpolation_leads_from_one_sample_to_the_other(tiny_run, samples, capsys):
    settings = ("pair=2,12", "frames=5")
    out, path, arrays = done(capsys, tiny_run, "interpolate", *settings)
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
    path.unlink()
    for name, array in done(capsys, tiny_run, "interpolate", *settings)[2].items():
        np.testing.assert_array_equal(array, arrays[name], err_msg=name)


def test_a_sampler_that_draws_noise_is_told_of_and_shares_it(tiny_run, capsys):
    out, _, arrays = done(capsys, tiny_run, "interpolate", "frames=5", "sampler.name=ddpm")
    assert "the sampler draws noise, the same in all frames\n" in out
    assert np.isfinite(arrays["images"]).all()


@pytest.mark.slow
def test_an_edit_prints_the_psnr_of_what_it_writes(tiny_run, samples, capsys):
    settings = ("first=1", "count=5", "strength=0.2,1")
    out, path, arrays = done(capsys, tiny_run, "sdedit", *settings)
    printed = re.findall(r"strength ([\d.]+): PSNR ([\d.]+) dB, mean of 5", out)
    assert arrays["original"].shape == (5, 8, 8, 1) and arrays["index"].tolist() == [1, 2, 3, 4, 5]
    assert arrays["noised"].shape == arrays["result"].shape == (2, 5, 8, 8, 1)
    error = ((arrays["result"] - arrays["original"]) ** 2).mean((2, 3, 4))
    np.testing.assert_allclose(arrays["psnr"], 10 * np.log10(1 / error), rtol=1e-4)
    means = arrays["psnr"].mean(1)
    assert printed == [("0.2", f"{means[0]:.2f}"), ("1", f"{means[1]:.2f}")]
    for strength, frames in (("0.2", 3), ("1", 4)):  # the times from there on, and the results
        with Image.open(path.with_name(f"{path.stem}_strength_{strength}.gif")) as film:
            assert film.n_frames == frames
    # Of full strength they are the run's own samples, whose classes are 1 to 5 too.
    np.testing.assert_array_equal(arrays["result"][1], samples[1:6])


def test_the_noised_examples_are_what_the_forward_process_says(tiny_run, capsys):
    """With alpha and sigma of the cosine schedule written out, and noise of unit variance."""
    settings = ("count=200", "strength=0.6", "sample.steps=1")
    _, _, arrays = done(capsys, tiny_run, "sdedit", *settings)
    angle = ((0.6 * 999 + 1) / 1000 + 0.008) / 1.008 * np.pi / 2
    x0 = 2 * arrays["original"] - 1
    alpha = np.cos(angle) / np.cos(0.008 / 1.008 * np.pi / 2)
    eps = (arrays["noised"][0] - alpha * x0) / np.sqrt(1 - alpha**2)
    assert abs(eps.mean()) < 0.03 and eps.std() == pytest.approx(1, abs=0.02)
    assert abs((eps * x0).mean()) < 0.03


@pytest.mark.parametrize("sampler", ["ddim", pytest.param("heun", marks=pytest.mark.slow)])
def test_inversion_prints_how_near_it_comes_and_redraws_as_asked(sampler, tiny_run, capsys):
    grid = "timesteps.name=logsnr"  # which heun needs to come back
    few = ("count=2", f"sampler={sampler}", "sample.classes=7", grid)
    out, path, arrays = done(capsys, tiny_run, "invert", *few)
    error = ((arrays["reconstruction"] - arrays["original"]) ** 2).mean((1, 2, 3))
    quality = (10 * np.log10(1 / error)).mean()
    assert f"reconstruction: PSNR {quality:.2f} dB, mean of 2" in out
    assert f"invert_{sampler}_3_seed_0" in path.name
    assert arrays["noise"].shape == arrays["result"].shape == (2, 8, 8, 1)
    assert np.abs(arrays["result"] - arrays["reconstruction"]).max() > 1e-3


def test_inpainting_shows_the_mask_and_keeps_what_is_known(tiny_run, capsys):
    out, path, arrays = done(capsys, tiny_run, "inpaint", "count=2", "mask=right", "rounds=2")
    np.testing.assert_array_equal(arrays["mask"][..., :4, :], 0)
    np.testing.assert_array_equal(arrays["mask"][..., 4:, :], 1)
    kept, filled = (arrays["result"] - arrays["original"])[..., :4, :], arrays["result"][..., 4:, :]
    np.testing.assert_array_equal(kept, 0)
    assert filled.std() > 0.05
    with Image.open(path.with_suffix(".png")) as picture:
        assert picture.width > 3 * 64 and picture.height > 2 * 64


def test_the_settings_stand_beside_the_pictures_and_name_them(tiny_run, capsys):
    _, path, arrays = done(capsys, tiny_run, "inpaint", "count=2", "method=null_space")
    settings = json.loads(path.with_suffix(".json").read_text())
    assert json.loads(str(arrays["settings"])) == settings
    assert path.stem == f"step_6_inpaint_ddim_3_seed_0_{names.digest(settings)}"
    assert settings["edit"]["method"] == "null_space"
    assert settings["pictures"] == {"examples": [0, 1]}


def test_training_draws_the_forward_process_and_the_way_of_its_samples(tiny_run):
    with Image.open(tiny_run / "forward.png") as picture:
        assert picture.width > 8 * 64 and picture.height > 6 * 64
    with Image.open(tiny_run / "samples/step_6_film.png") as picture:
        assert picture.height > 6 * 64
    with Image.open(tiny_run / "samples/step_6_film.gif") as film:
        assert film.n_frames == 4


@pytest.mark.parametrize(
    "name, settings, remedy",
    [
        ("interpolat", (), "unknown edit 'interpolat'; did you mean 'interpolate'? choose one of"),
        ("interpolate", ("pair=3",), "pair takes two indices"),
        ("interpolate", ("pair=0,-1",), "pair takes two indices"),
        (
            "interpolate",
            ("pair=0,1797", "between=examples"),
            "pair holds 1797, which is",
        ),
        ("interpolate", ("between=nothing",), "between is one of noises, examples"),
        ("interpolate", ("frames=1",), "frames=1 must be at least 2"),
        ("sdedit", ("count=0",), "count must be at least 1"),
        ("sdedit", ("first=1797",), "digits has 0 to 1796"),
        *(
            ("sdedit", (f"strength={s}",), "strength takes numbers above 0 and up to 1")
            for s in ("0", "1.01", "-0.5", "0.5,0", "()")
        ),
        ("sdedit", ("strength=nan",), "strength takes values like (0.6,), not ('nan',)"),
        ("sdedit", ("strength=0.5,0.5",), "strength holds a number twice"),
        ("sdedit", ("sample.ask=('10',)",), "unknown class '10'"),
        ("sdedit", ("sample.classes=10",), "digits has classes 0 to 9"),
        ("invert", ("sampler=ddpm",), "sampler is one of ddim, heun, not 'ddpm'"),
        ("inpaint", ("rounds=0",), "must be at least 1"),
        ("inpaint", ("jump=0",), "must be at least 1"),
        ("inpaint", ("method=ddnm",), "method is one of repaint, null_space"),
        ("inpaint", ("given=grey",), "given=grey is of method=null_space"),
        ("inpaint", ("method=null_space", "given=grey"), "pictures of digits have none"),
        ("inpaint", ("method=null_space", "given=low", "factor=3"), "factor=3 does not divide"),
    ],
    ids=lambda a: " ".join(a) if isinstance(a, tuple) else "",
)
def test_misuse_is_answered_in_one_line(tiny_run, name, settings, remedy, capsys):
    code, _, err = edit(capsys, tiny_run, name, *settings)
    assert code == 2 and remedy in err and err.startswith("error: ") and err.count("\n") == 1
    command = ["--mode", "edit", "--workdir", str(tiny_run), *keys(name, settings)]
    assert launch.main([*command, "--dry_run"]) == 2
    assert capsys.readouterr() == ("", err)


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
    as_trained(tiny_run, tmp_path / "run")
    harm(tmp_path / "run")
    code, _, err = edit(capsys, tmp_path / "run", "sdedit")
    assert code == 2 and remedy in err and err.count("\n") == 1
