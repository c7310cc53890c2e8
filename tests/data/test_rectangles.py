"""Rectangular images from a folder to samples, through the command line."""

import json

import numpy as np
import pytest
from conftest import TINY_UNET, answer, images_of
from PIL import Image

from ddm_jax.data import sources
from ddm_jax.data.augments import Mirror
from ddm_jax.data.dataset import DataOptions
from ddm_jax.data.pipeline import feed, prepare
from ddm_jax.models.codecs import Pixels

pytestmark = pytest.mark.usefixtures("quick_compilation", "at_root")

SETTINGS = (
    "--config.condition.name=nothing",
    "--config.loss.class_dropout=0",
    "--config.guidance.name=none",
    "--config.model.ddpm_unet.multipliers=(1,1)",
    "--config.model.ddpm_unet.attention=()",
    "--config.model.ddpm_unet.blocks=1",
    "--config.train.steps=2",
    "--config.augment.name=mirror",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twenty pictures of 24 x 32 pixels."""
    path = tmp_path_factory.mktemp("rectangles")
    rng = np.random.default_rng(0)
    for k in range(20):
        picture = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(picture).save(path / f"{k:02}.png")
    return path


def test_a_batch_of_them_is_mirrored_along_its_width(folder):
    data = sources.load(DataOptions(name=f"folder:{folder}"))
    assert data.spec.shape == (24, 32, 3)
    fed = feed(data, 0, 16, 0, augment=Mirror(), by_index=False)
    x0 = np.asarray(Pixels(data.spec).encode(prepare(fed, None, Mirror())["x"], {}))
    assert x0.shape == (16, 24, 32, 3) and 0 < fed["mirrored"].sum() < 16
    for x, picture, flip in zip(x0, fed["x"], fed["mirrored"], strict=True):
        right = picture[:, ::-1] if flip else picture
        np.testing.assert_allclose(x, right / 127.5 - 1, atol=1e-6)


@pytest.mark.slow
def test_they_are_trained_on_and_sampled(folder, tmp_path, capsys):
    run = tmp_path / "run"
    arguments = ("--config", "configs/quickstart.py", "--workdir", run, *TINY_UNET, *SETTINGS)
    arguments += (f"--config.data.name=folder:{folder}",)
    code, _, err = answer(capsys, *arguments)
    assert code == 0, err
    assert json.loads((run / "data.json").read_text())["shape"] == [24, 32, 3]
    found, path = images_of(capsys, run)
    assert found["images"].shape == (6, 24, 32, 3)
    with Image.open(path.with_suffix(".png")) as grid:
        assert grid.size == (6 * (64 + 4) + 4, 48 + 2 * 4)  # each enlarged to 48 x 64
    code, _, err = answer(capsys, *arguments, "--config.data.size=24,32")
    assert code == 2 and "data.size is (24, 32), was ()" in err


def test_they_are_brought_to_another_size(folder, tmp_path, capsys):
    arguments = ("--config", "configs/quickstart.py", "--workdir", tmp_path, *TINY_UNET, *SETTINGS)
    arguments += (f"--config.data.name=folder:{folder}", "--dry_run")
    code, out, err = answer(capsys, *arguments, "--config.data.size=16,24")
    assert code == 0, err
    assert "20 images 16x24x3" in out and "centre to 16:24 and resized to 16 x 24 pixels" in out
    code, _, err = answer(capsys, *arguments, "--config.data.size=15,24")
    assert code == 2 and "images of 15x24 do not divide by 2" in err
    code, _, err = answer(capsys, *arguments, "--config.data.size=0")
    assert code == 2 and "as in 32 or 24,32, or () for the data's own; not 0" in err
