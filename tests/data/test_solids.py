"""Volumes of one solid have the volumes of geometry, and are told apart by the oracle."""

import numpy as np
import pytest

from ddm_jax.data import solids, sources
from ddm_jax.data.dataset import DataOptions

INDEX = np.arange(80)
# In units of r^3: 4/3 pi, (2 * 0.8)^3, pi/3 h^3 / 1.8^2 of height 1.8, 2 pi^2 R q^2.
VOLUME = (4 / 3 * np.pi, 1.6**3, np.pi / 3 * 1.8, 2 * np.pi**2 * 0.65 * 0.35**2)


@pytest.fixture(scope="module")
def volumes():
    return solids.draw(INDEX)


def test_every_solid_is_told_from_the_others(volumes):
    found, error = solids.oracle(volumes)
    assert set(found) == set(range(len(solids.CLASSES)))
    np.testing.assert_array_equal(found, solids.labels(INDEX))
    assert error.max() < 40
    noise = np.random.default_rng(0).integers(0, 256, volumes[:4].shape)
    assert solids.oracle(noise)[1].min() > 80


@pytest.mark.parametrize("solid, expected", list(enumerate(VOLUME)), ids=solids.CLASSES)
def test_as_much_is_filled_as_geometry_says(solid, expected):
    """Counted on a fine grid of points."""
    line = np.linspace(-1.5, 1.5, 61)
    dz, dy, dx = np.meshgrid(line, line, line, indexing="ij")
    inside = solids.distance(np.array(solid), dz, dy, dx, r=np.array(1.0)) < 0
    assert inside.sum() * (line[1] - line[0]) ** 3 == pytest.approx(expected, rel=0.05)


def test_a_volume_is_a_function_of_its_index_and_touches_no_face(volumes):
    few = np.array([31, 7])
    np.testing.assert_array_equal(solids.draw(few), volumes[few])
    faces = [volumes.take(k, axis) for axis in (1, 2, 3) for k in (0, -1)]
    assert max(face.max() for face in faces) == 0
    data = sources.load(DataOptions(name="solids", count=9))
    np.testing.assert_array_equal(data.columns["x"], volumes[:9])
    assert data.spec.kind == "volume" and data.spec.shape == (12, 12, 12, 1)
