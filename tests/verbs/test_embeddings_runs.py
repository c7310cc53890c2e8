"""Runs on vectors that come with the data: trained, resumed, asked, and what is wrong with them."""

import json

import numpy as np
import pytest
from conftest import ROOT, answer, images_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]

SMALL = (
    *("model.name=residual_mlp", "model.residual_mlp.channels=8", "model.residual_mlp.depth=1"),
    *("condition.name=embeddings", "loss.class_dropout=0.5", "optim.warmup=0", "optim.lr=0.03"),
    *("guidance.name=classifier_free", "guidance.classifier_free.scale=2"),
    "prediction.name=v",
    *("train.batch=8", "train.steps=2", "train.sample_every=0", "train.save_every=1"),
    *("sample.count=3", "sample.batch=4", "sample.steps=2"),
)
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Vectors for the digits, and two to ask for."""
    path = tmp_path_factory.mktemp("vectors")
    np.save(path / "digits.npy", RNG.normal(size=(1797, 4)))
    np.save(path / "two.npy", RNG.normal(size=(2, 4)))
    return path


def training(folder, *settings, run="run"):
    config = ("--config", ROOT / "configs/base.py", "--workdir", folder / run)
    own = (f"data.embeddings={folder / 'digits.npy'}", *SMALL, *settings)
    return (*config, *(f"--config.{s}" for s in own))


@pytest.fixture(scope="module")
def run(folder, quick_compilation):
    import launch

    assert launch.main([*map(str, training(folder))]) == 0
    return folder / "run"


def elsewhere(folder, change):
    """A setting that names the vectors of training, changed, in another place."""
    path = folder / f"moved_by_{change}.npy"
    np.save(path, np.load(folder / "digits.npy") + change)
    return f"data.embeddings={path}"


def test_a_run_does_not_go_on_with_other_vectors(run, folder, capsys):
    assert json.loads((run / "data.json").read_text())["embedding"] == 4
    code, _, err = answer(capsys, *training(folder, elsewhere(folder, 1), "train.steps=3"))
    assert code == 2 and "the embeddings differ; bring the data back" in err


def test_a_run_goes_on_wherever_its_vectors_lie(run, folder, capsys):
    code, out, err = answer(capsys, *training(folder, elsewhere(folder, 0), "train.steps=3"))
    assert code == 0 and "resuming at step 2" in out, err


@pytest.mark.telling
def test_samples_are_of_the_vectors_that_are_asked_for_dealt_in_turn(run, folder, capsys):
    two = folder / "two.npy"
    got, path = images_of(capsys, run, "--prompt", two)
    assert got["asked"].tolist() == [f"{two}:0", f"{two}:1", f"{two}:0"] and "labels" not in got
    one, _ = images_of(capsys, run, "--prompt", f"{two}:1")
    np.testing.assert_array_equal(one["images"][1], got["images"][1])
    assert (one["images"][0] != got["images"][0]).any()
    np.save(two, -np.load(two))
    other, again = images_of(capsys, run, "--prompt", two)
    assert again != path  # under the same name stand other vectors
    assert (other["images"] != got["images"]).any()


@pytest.mark.parametrize(
    "arguments, remedy",
    [
        ((), "told by files what to draw; name some, as in --prompt vectors.npy"),
        (("--prompt", "/nowhere.npy"), "sample.ask: '/nowhere.npy' holds no vectors"),
        (("--prompt", "a red circle"), "'a red circle' holds no vectors"),
        (("--prompt", "{}/two.npy:7"), "has rows 0 to 1, and none of 7"),
        (("--prompt", "{}/long.npy"), "vectors of 9 numbers, and those of the data have 4"),
        (("--prompt", "{}/two.npy", "--config.sample.avoid={}/two.npy"), "holds 2 vectors; name"),
        (("--config.sample.classes=1",), "asks for classes, and nothing here knows any"),
    ],
)
def test_wrong_vectors_are_answered_in_one_line(run, folder, capsys, arguments, remedy):
    np.save(folder / "long.npy", np.zeros(9))
    arguments = [a.format(folder) for a in arguments]
    code, _, err = answer(capsys, "--mode", "sample", "--workdir", run, *arguments)
    assert code == 2 and remedy in err and err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    "settings, remedy",
    [
        (("data.embeddings=",), "digits has no vectors beside its examples; name a file"),
        (("data.embeddings=/nowhere.npy",), "data.embeddings: '/nowhere.npy' holds no vectors"),
        (("model.name=mlp",), "does not read that condition"),
    ],
)
def test_wrong_data_are_answered_in_one_line(folder, capsys, settings, remedy):
    code, _, err = answer(capsys, *training(folder, *settings, run="none"))
    assert code == 2 and remedy in err and err.startswith("error: ") and err.count("\n") == 1
    assert not (folder / "none").exists()
