"""Synthetic shapes: deterministic, anti-aliased, and read back exactly by the oracle."""

import numpy as np
import pytest

from ddm_jax.data import shapes
from ddm_jax.data.counter import uniform


@pytest.mark.parametrize("size", [16, 32, pytest.param(64, marks=pytest.mark.slow)])
def test_the_oracle_reads_every_attribute_back(size):
    index = np.arange(1000, 1000 + 16_000 // size)
    read, rms = shapes.oracle(shapes.draw(index, size))
    for name, value in shapes.attributes(index).items():
        np.testing.assert_array_equal(read[name], value, err_msg=name)
    assert rms.max() < 15


def test_the_oracle_survives_noise_and_reports_what_is_no_shape():
    index = np.arange(200)
    noise = np.random.default_rng(0).normal(0, 10, (200, 32, 32, 3))
    read, _ = shapes.oracle(shapes.draw(index, 32) + noise)
    truth = shapes.attributes(index)
    for name, value in truth.items():
        assert (read[name] == value).mean() > 0.98, name
    _, rms = shapes.oracle(np.random.default_rng(1).uniform(0, 255, (4, 32, 32, 3)))
    assert rms.min() > 50
    shapes.oracle(np.zeros((1, 32, 32, 3)))  # a blank image has no colours to tell apart


def test_an_image_is_a_function_of_its_index():
    np.testing.assert_array_equal(
        shapes.draw(np.arange(50), 24)[31:34], shapes.draw(np.array([31, 32, 33]), 24)
    )


def test_attributes_are_uniform_and_colour_differs_from_background():
    attributes = shapes.attributes(np.arange(20_000))
    for name, values in attributes.items():
        counts = np.bincount(values, minlength=len(shapes.NAMES[name])) / 20_000
        np.testing.assert_allclose(counts, 1 / len(counts), atol=0.02, err_msg=name)
    assert (attributes["colour"] != attributes["background"]).all()


def test_edges_are_anti_aliased():
    image = shapes.draw(np.array([0]), 32)[0].reshape(-1, 3)
    assert len(np.unique(image, axis=0)) > 4


def test_captions_and_labels_say_what_is_drawn():
    attributes = {
        "shape": [0, 2],
        "colour": [0, 1],
        "size": [0, 1],
        "position": [4, 0],
        "background": [2, 6],
    }
    attributes = {k: np.array(v) for k, v in attributes.items()}
    assert shapes.captions(attributes) == (
        "a small red circle on a blue background",
        "a large green triangle at the top left on a white background",
    )
    assert [shapes.CLASSES[i] for i in shapes.labels(attributes)] == [
        "red circle",
        "green triangle",
    ]


def test_counter_streams_are_uniform_and_independent():
    a, b = (uniform(5, stream, np.arange(50_000)) for stream in (0, 1))
    assert abs(np.sort(a) - (np.arange(50_000) + 0.5) / 50_000).max() < 0.01
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.02 and abs(np.corrcoef(a[1:], a[:-1])[0, 1]) < 0.02
    assert abs(np.corrcoef(a, uniform(6, 0, np.arange(50_000)))[0, 1]) < 0.02
