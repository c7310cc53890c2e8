"""Files of weights: read where they are those of the network, and refused in one line if not."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from ddm_jax.data.dataset import Spec
from ddm_jax.errors import UserError
from ddm_jax.models.features import networks, weights
from ddm_jax.models.features.networks import EfficientNetLite0, Inception
from ddm_jax.training.weights import digest_of

LIKE = {
    "conv": {"weight": jax.ShapeDtypeStruct((2, 1, 3, 3), jnp.float32)},
    "bn.0": {"bias": jax.ShapeDtypeStruct((2,), jnp.float32)},
}
GOOD = {
    "conv.weight": np.arange(18, dtype=np.float32).reshape(2, 1, 3, 3),
    "bn.0.bias": np.float32([1, 2]),
}
SPEC = Spec("toy", (8, 8, 3), 4, (), False, (0.5,) * 3, (0.2,) * 3)


def test_tensors_go_to_the_places_of_their_names(tmp_path):
    save_file({**GOOD, "bn.0.num_batches_tracked": np.int64(3)[None]}, tmp_path / "w.safetensors")
    found, digest = weights.read(tmp_path / "w.safetensors", LIKE, "x")
    assert digest == digest_of(found)
    assert jax.tree.structure(found) == jax.tree.structure(LIKE)
    np.testing.assert_array_equal(found["conv"]["weight"], GOOD["conv.weight"])
    np.testing.assert_array_equal(found["bn.0"]["bias"], [1, 2])


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Both rows ask for the tensors of LIKE."""
    monkeypatch.setattr(networks, "shapes", lambda net, size: LIKE)


def test_weights_with_another_sum_than_was_written_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(GOOD, path)
    digest = weights.read(path, LIKE, "x")[1]
    save_file(GOOD, path, {"sha256": digest})
    assert weights.read(path, LIKE, "x")[1] == digest
    save_file({**GOOD, "bn.0.bias": np.float32([1, 3])}, path, {"sha256": digest})
    with pytest.raises(UserError, match="its sum is not that of its weights"):
        weights.read(path, LIKE, "x")


HOSTILE = {
    "conv.weight is missing": {"bn.0.bias": GOOD["bn.0.bias"]},
    "more is none of its tensors": {**GOOD, "more": np.zeros(3, np.float32)},
    r"bn.0.bias is F32 \(3,\), not F32 \(2,\)": {**GOOD, "bn.0.bias": np.zeros(3, np.float32)},
    r"bn.0.bias is F64 \(2,\)": {**GOOD, "bn.0.bias": np.zeros(2)},
    r"and 1 more\); give the file of its published weights": {"bn.0.bias": np.zeros(2)},
}


@pytest.mark.parametrize("reason", HOSTILE)
def test_tensors_of_another_network_are_refused(reason, tmp_path):
    save_file(HOSTILE[reason], tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=reason) as error:
        weights.read(tmp_path / "w.safetensors", LIKE, "features.inception.weights")
    assert "\n" not in str(error.value) and "features.inception.weights" in str(error.value)


def header(**tensors):
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


VAST = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}
BROKEN = {
    "empty": b"",
    "text": b"not weights at all",
    "endless header": (2**60).to_bytes(8, "little") + b"{",
    "larger than the file": header(**{"conv.weight": VAST}),
    "a list": (2).to_bytes(8, "little") + b"[]",
}


@pytest.mark.parametrize("name", [*BROKEN, "truncated", "missing", "a folder"])
def test_files_that_cannot_be_read_are_refused_in_one_line(name, tmp_path):
    path = tmp_path / "w.safetensors"
    if name in BROKEN:
        path.write_bytes(BROKEN[name])
    elif name == "truncated":
        save_file(GOOD, path)
        path.write_bytes(path.read_bytes()[:-5])
    elif name == "a folder":
        path.mkdir()
    with pytest.raises(UserError, match="no file of weights that can be read") as error:
        Inception(SPEC, str(path)).load(tmp_path, print)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_without_weights_or_packages_the_remedy_is_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="--config.features.inception.weights=pt_inception"):
        Inception(SPEC).load(tmp_path, print)
    with pytest.raises(UserError, match="no file of weights"):
        Inception(SPEC, str(tmp_path / "nowhere.pth")).load(tmp_path, print)
    for module in (weights, networks):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    (tmp_path / "some.pth").write_bytes(b"weights")
    for row in (EfficientNetLite0(SPEC), Inception(SPEC, str(tmp_path / "some.pth"))):
        with pytest.raises(UserError, match=r'needs: pip install -e ".\[features\]"') as error:
            row.load(tmp_path, print)
        assert "\n" not in str(error.value) and "features." in str(error.value)
