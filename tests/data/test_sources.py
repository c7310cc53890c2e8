"""The embedded sources and the table."""

import numpy as np
import pytest

from ddm_jax.data import sources
from ddm_jax.data.dataset import DataOptions
from ddm_jax.errors import UserError


def test_digits_are_the_embedded_real_ones():
    data = sources.load(DataOptions())
    assert data.spec.shape == (8, 8, 1) and data.spec.count == 1797
    assert data.images.dtype == np.uint8 and data.images.max() == 255
    assert np.bincount(data.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert data.spec.classes[3] == "3" and data.captions is None


def test_shapes_have_labels_captions_and_attributes():
    data = sources.load(DataOptions(name="shapes", count=2500, size=16))
    assert data.images.shape == (2500, 16, 16, 3) and len(data.captions) == 2500
    assert data.spec.captioned and len(data.spec.classes) == 24
    few = sources.load(DataOptions(name="shapes", count=10, size=16))
    np.testing.assert_array_equal(few.images, data.images[:10])
    colour, shape = data.spec.classes[data.labels[0]].split()
    assert colour in data.captions[0] and shape in data.captions[0]


def test_a_photograph_is_one_image_of_any_size():
    data = sources.load(DataOptions(name="photo"))
    assert data.images.shape == (1, 64, 64, 3) and data.labels is None
    grey = sources.load(DataOptions(name="photo:flower", size=32, channels=1))
    assert grey.images.shape == (1, 32, 32, 1) and grey.images.std() > 20
    assert grey.spec.name == "photo:flower" and not grey.spec.classes


@pytest.mark.parametrize(
    "options, message",
    [
        ({"name": "photo:cat"}, "china"),
        ({"name": "digit"}, "did you mean 'digits'"),
        ({"name": "digits", "size": 16}, "leave data.size at 0"),
        ({"name": "digits:8"}, "takes no argument"),
        ({"name": "shapes", "size": 8}, "12 or more"),
        ({"name": "tfds"}, "tfds:cifar10"),
        ({"name": "folder:/does/not/exist"}, "folder:<path>"),
    ],
)
def test_wrong_names_are_answered_with_the_remedy(options, message):
    with pytest.raises(UserError, match=message):
        sources.load(DataOptions(**options))


@pytest.mark.parametrize(
    "options, message",
    [({"scaling": "half"}, "'fitted'"), ({"channels": 2}, "1, 3 or 0"), ({"count": 0}, "count")],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        DataOptions(**options)
