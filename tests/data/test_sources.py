"""The embedded sources and the table."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_image

from ddm_jax.data import sources
from ddm_jax.data.dataset import DataOptions
from ddm_jax.data.images import fit
from ddm_jax.errors import UserError


def test_digits_are_the_embedded_real_ones():
    data = sources.load(DataOptions())
    assert data.spec.shape == (8, 8, 1) and data.spec.count == 1797
    assert data.columns["x"].dtype == np.uint8 and data.columns["x"].max() == 255
    counts = np.bincount(data.columns["label"]).tolist()
    assert counts == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert data.spec.classes[3] == "3" and data.columns.keys() == {"x", "label"}
    images, labels = load_digits(return_X_y=True)
    np.testing.assert_array_equal(data.columns["label"], labels)
    np.testing.assert_allclose(data.columns["x"].reshape(-1, 64) * (16 / 255), images, atol=0.04)


def test_files_of_a_package_that_is_not_there_are_named_with_what_brings_them(monkeypatch):
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install scikit-learn"):
        sources.load(DataOptions())


def test_shapes_have_labels_captions_and_attributes():
    data = sources.load(DataOptions(name="shapes", count=2500, size=(16,)))
    assert data.columns["x"].shape == (2500, 16, 16, 3) and len(data.columns["text"]) == 2500
    assert data.spec.captioned and len(data.spec.classes) == 24
    few = sources.load(DataOptions(name="shapes", count=10, size=(16,)))
    np.testing.assert_array_equal(few.columns["x"], data.columns["x"][:10])
    colour, shape = data.spec.classes[data.columns["label"][0]].split()
    assert colour in data.columns["text"][0] and shape in data.columns["text"][0]


def test_a_photograph_is_one_image_of_any_size():
    data = sources.load(DataOptions(name="photo"))
    assert data.columns["x"].shape == (1, 64, 64, 3) and data.columns.keys() == {"x"}
    as_shipped = Image.fromarray(load_sample_image("china.jpg"))
    np.testing.assert_array_equal(data.columns["x"][0], fit(as_shipped, (64, 64), 3))
    grey = sources.load(DataOptions(name="photo:flower", size=(32, 48), channels=1))
    assert grey.columns["x"].shape == (1, 32, 48, 1) and grey.columns["x"].std() > 20
    assert grey.spec.name == "photo:flower" and not grey.spec.classes


@pytest.mark.parametrize(
    "options, message",
    [
        ({"name": "photo:cat"}, "china"),
        ({"name": "digit"}, "did you mean 'digits'"),
        ({"name": "digits", "size": (16,)}, r"leave data.size at \(\)"),
        ({"name": "digits:8"}, "takes no argument"),
        ({"name": "shapes", "size": (8,)}, "12 or more"),
        ({"name": "shapes", "size": (24, 32)}, "set data.size to 24"),
        ({"name": "tfds"}, "tfds:cifar10"),
        ({"name": "folder:/does/not/exist"}, "folder:<path>"),
    ],
)
def test_wrong_names_are_answered_with_the_remedy(options, message):
    with pytest.raises(UserError, match=message):
        sources.load(DataOptions(**options))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"channels": 2}, "1, 3 or 0"),
        ({"count": 0}, "count"),
        ({"size": (0,)}, "as in 32 or 24,32, or .* the data's own; not 0"),
        ({"size": (8, -8)}, "not 8,-8"),
        ({"size": (1, 2, 3)}, "not 1,2,3"),
        ({"size": (24.5,)}, "not 24.5"),
        ({"size": ("24x32",)}, "not 24x32"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        DataOptions(**options)
