"""Files of diffusers that are missing, broken, or made to do harm: a line each, no memory."""

import errno
import json
import os
import shutil
import stat
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ddm_jax import files
from ddm_jax.errors import UserError
from ddm_jax.exchange import folder, parameters, tensor_file

HERE = Path(__file__).resolve().parent
SHAPES = {"a.weight": (2, 3), "b.bias": (3,)}
GOOD = {"a.weight": np.ones((2, 3), np.float32), "b.bias": np.zeros(3, np.float32)}


def refused(call, *words):
    with pytest.raises(UserError) as error:
        call()
    text = str(error.value)
    assert all(word in text for word in words), text
    assert "\n" not in text and len(text) < 600


def read(path):
    return tensor_file.read(path, SHAPES, parameters.todays)


def with_header(path, header, length=None, data=b""):
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.float64])
def test_numbers_of_any_width_are_read_as_float32(tmp_path, kind):
    save_file({name: tensor.astype(kind) for name, tensor in GOOD.items()}, tmp_path / "x")
    found = read(tmp_path / "x")
    assert all(tensor.dtype == np.float32 for tensor in found.values())
    np.testing.assert_array_equal(found["a.weight"], 1)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"b.bias": None}, ("lacks b.bias",)),
        ({"c": np.ones(1, np.float32)}, ("holds c,", "has not")),
        ({"a.weight": np.ones((3, 2), np.float32)}, ("a.weight", "[3, 2]", "[2, 3]")),
        ({"a.weight": np.ones((2, 3), np.int8)}, ("a.weight is of I8", "torch.float32")),
        ({"a.weight": np.full((2, 3), np.nan, np.float32)}, ("a.weight", "not finite")),
        ({"b.bias": np.array([0, 0, np.inf], np.float16)}, ("b.bias", "not finite")),
        ({"b.bias": np.array([0, 0, 1e300])}, ("b.bias", "not finite")),
    ],
    ids=str,
)
def test_other_tensors_are_named(tmp_path, change, words):
    tensors = {name: tensor for name, tensor in {**GOOD, **change}.items() if tensor is not None}
    save_file(tensors, tmp_path / "x")
    refused(lambda: read(tmp_path / "x"), *words)


def test_broken_files_are_refused(tmp_path):
    path, whole = tmp_path / "x", tmp_path / "whole"
    save_file(GOOD, whole)
    for end in (0, 7, 8, 60, whole.stat().st_size - 1):
        path.write_bytes(whole.read_bytes()[:end])
        refused(lambda: read(path), "copy it anew")
    entry = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 2**60]}
    for header, length in (
        (b"[" * 100_000, None),
        (b'{"a":' * 100_000, None),
        (b"{}", 2**63),
        (b"{}", 2**64 - 1),
        (json.dumps({"a.weight": entry}).encode(), None),
        (json.dumps({"a.weight": {**entry, "shape": [2**62, 2**62]}}).encode(), None),
        (b'{"a":1}', None),
        (b"\xff" * 20, None),
    ):
        with_header(path, header, length, bytes(36))
        refused(lambda: read(path), "copy it anew")
    refused(lambda: read(tmp_path), "copy it anew")


def test_former_names_of_attention():
    place = "up_blocks.1.attentions.2"
    for former, now in (("query", "to_q"), ("proj_attn", "to_out.0"), ("to_k", "to_k")):
        assert parameters.todays(f"{place}.{former}.bias") == f"{place}.{now}.bias"
    assert parameters.todays("key.weight") == "key.weight"


@pytest.fixture
def pipeline(tmp_path):
    shutil.copytree(HERE / "pipeline", tmp_path / "pipeline")
    return tmp_path / "pipeline"


def test_where_files_may_lie(pipeline):
    """A pipeline, its network's folder alone, or all in one folder as of old."""
    found = folder.find(pipeline)
    assert found == folder.find(pipeline / "unet")
    old = pipeline.parent / "old"
    shutil.copytree(pipeline / "unet", old)
    assert folder.find(old).scheduler is None
    shutil.copy(pipeline / "scheduler/scheduler_config.json", old)
    assert folder.find(old).scheduler[1] == found.scheduler[1]


def test_folders_that_lack_a_file(pipeline, tmp_path):
    refused(lambda: folder.find(tmp_path / "nowhere"), "no config.json")
    refused(lambda: folder.find(tmp_path), "no config.json")
    weights = pipeline / "unet" / folder.WEIGHTS
    weights.rename(weights.with_suffix(".bin"))
    refused(lambda: folder.find(pipeline), ".bin alone", "safe_serialization=True")
    weights.with_suffix(".bin").rename(weights.with_suffix(".safetensors.index.json"))
    refused(lambda: folder.find(pipeline), "several files", "max_shard_size")
    weights.with_suffix(".safetensors.index.json").unlink()
    refused(lambda: folder.find(pipeline), f"no {folder.WEIGHTS}")


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b"{", b"[]", b"\xff", b"{'a': 1}", b'{"_class_name": "UNet1DModel"}']
)
def test_settings_that_cannot_be_read(pipeline, text):
    path = pipeline / "unet/config.json"
    path.write_bytes(text)
    refused(lambda: folder.find(pipeline), str(path))


def test_a_new_folder_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a" / "b.c"
    with pytest.raises(ZeroDivisionError), files.new_folder(path, "remedy") as part:
        (part / "file").write_text("1")
        raise ZeroDivisionError
    assert not path.exists() and not [*path.parent.iterdir()]
    path.mkdir()  # an empty one gives way
    with files.new_folder(path, "remedy") as part:
        (part / "file").write_text("1")
        assert not [*path.iterdir()]
    assert (path / "file").read_text() == "1" and len([*path.parent.iterdir()]) == 1
    with pytest.raises(UserError, match="remedy"), files.new_folder(path, "remedy"):
        raise AssertionError
    (tmp_path / "file").write_text("1")
    with pytest.raises(UserError, match="remedy"), files.new_folder(tmp_path / "file/x", "remedy"):
        raise AssertionError


def test_a_file_is_on_the_disk_before_it_takes_the_place_of_another(tmp_path, monkeypatch):
    """And so is its name after it: both are asked for, in this order."""
    path, seen = tmp_path / "x.json", []
    files.write_text(path, "old")
    whole = os.fsync

    def noted(place):
        seen.append((os.fstat(place).st_ino, path.read_text()))
        whole(place)

    monkeypatch.setattr(os, "fsync", noted)
    files.write_text(path, "new")
    assert seen == [(path.stat().st_ino, "old"), (tmp_path.stat().st_ino, "new")]


def test_a_file_system_that_cannot_sync_folders_is_written_to(tmp_path, monkeypatch):
    whole = os.fsync

    def of_files(place):
        if stat.S_ISDIR(os.fstat(place).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        whole(place)

    monkeypatch.setattr(os, "fsync", of_files)
    files.write_text(tmp_path / "x.json", "text")
    assert (tmp_path / "x.json").read_text() == "text"
