"""TFDS data: real CIFAR-10 and Fashion-MNIST where they are, and clear errors where not."""

import dataclasses
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import shared

from ddm_jax.data import prepared, sources
from ddm_jax.data.dataset import DataOptions, NoSplit
from ddm_jax.errors import UserError


@pytest.fixture
def fashion(tmp_path):
    options = {"dir": str(shared("tfds/fashion_mnist").parent), "split": "test"}
    return DataOptions(name="tfds:fashion_mnist", cache=str(tmp_path), **options)


def test_real_cifar10_is_read_without_tensorflow(tmp_path):
    directory = str(shared("tfds/cifar10").parent)
    lines = []
    data = sources.load(
        DataOptions(name="tfds:cifar10", dir=directory, split="test", cache=str(tmp_path)),
        lines.append,
    )
    x = data.columns["x"]
    assert x.shape == (10_000, 32, 32, 3) and isinstance(x, np.memmap)
    assert np.bincount(data.columns["label"]).tolist() == [1000] * 10
    assert data.spec.classes[:3] == ("airplane", "automobile", "bird")
    np.testing.assert_allclose(data.spec.mean, [0.494, 0.485, 0.450], atol=2e-3)
    assert "decoding tfds:cifar10" in lines[0]
    assert "tensorflow" not in sys.modules


def test_fashion_mnist_is_decoded_once_and_checked(fashion):
    first, lines = sources.load(fashion), []
    truth = np.array(first.columns["x"][:10])
    again = sources.load(fashion, lines.append)
    assert lines == [] and again.spec == first.spec and first.spec.shape == (28, 28, 1)
    path = Path(first.columns["x"].filename)
    raw = bytearray(path.read_bytes())
    raw[5000] ^= 1
    path.write_bytes(raw)
    healed = sources.load(fashion, lines.append)
    assert lines and np.array_equal(healed.columns["x"][:10], truth)


def test_a_version_is_read_from_its_files_alone(fashion):
    """TFDS then takes the features from features.json, whose classes are plain ones."""
    data = sources.load(dataclasses.replace(fashion, name="tfds:fashion_mnist:3.0.1"))
    assert data.columns["x"].shape == (10_000, 28, 28, 1) and data.spec.classes[9] == "Ankle boot"
    assert data.spec.mirrors


def test_other_sizes_and_channels_are_made(fashion):
    data = sources.load(dataclasses.replace(fashion, size=(14, 20), channels=3))
    assert data.columns["x"].shape == (10_000, 14, 20, 3)


def test_unknown_splits_and_sets_are_answered_with_names(fashion):
    with pytest.raises(NoSplit, match="unknown split .*'tes'; did you mean 'test'"):
        sources.load(dataclasses.replace(fashion, split="tes"))
    with pytest.raises(UserError, match="did you mean 'fashion_mnist'"):
        sources.load(DataOptions(name="tfds:fashion_mnis"))


def test_missing_data_give_one_clear_error(tmp_path):
    with pytest.raises(UserError, match="data.dir") as error:
        sources.load(DataOptions(name="tfds:cifar10", dir=str(tmp_path)))
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("tensorflow"), reason="preparing needs the tf extra")
def test_mnist_is_really_prepared_from_its_original_files(tmp_path):
    options = DataOptions(
        name="tfds:mnist",
        dir=str(tmp_path / "tfds"),
        cache=str(tmp_path / "cache"),
        downloads=str(shared("downloads/mnist")),
    )
    data = sources.load(options)
    assert data.columns["x"].shape == (60_000, 28, 28, 1)
    assert np.bincount(data.columns["label"]).tolist() == [
        5923,
        6742,
        5958,
        6131,
        5842,
        5421,
        5918,
        6265,
        5851,
        5949,
    ]


@pytest.mark.parametrize("named", ["caption", "text"])
def test_captions_of_a_set_are_a_column(monkeypatch, tmp_path, named):
    """Bytes, as TFDS gives them; what is no text is answered in one line."""
    features = {"image": SimpleNamespace(shape=(2, 2, 3)), named: None}
    info = SimpleNamespace(features=features, splits={"train": SimpleNamespace(num_examples=2)})
    image = np.zeros((2, 2, 3), np.uint8)

    def decoded(*captions):
        found = ({"image": image, named: caption} for caption in captions)
        monkeypatch.setattr(prepared, "_examples", lambda *a: found)
        builder, options = SimpleNamespace(info=info), DataOptions()
        return prepared._decode(builder, "told", options, tmp_path / "x.npy", report=print)

    assert decoded(b"a dot", "ein K\u00e4fer".encode()).columns["text"].tolist() == [
        "a dot",
        "ein K\u00e4fer",
    ]
    with pytest.raises(UserError, match="of example 1 of tfds:told is int"):
        decoded(b"a dot", 3)
