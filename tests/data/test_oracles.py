"""Oracles read back what sets were drawn as, and say where an example is of no class."""

import jax
import numpy as np
import pytest
from conftest import ROOT

from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import complete
from ddm_jax.data import points, sources
from ddm_jax.data.dataset import DataOptions
from ddm_jax.data.oracles import ORACLES
from ddm_jax.errors import UserError
from ddm_jax.models.features import FEATURES
from ddm_jax.models.features.oracle import NONE


@pytest.mark.parametrize("name", ORACLES)
def test_it_reads_what_was_drawn(name):
    data = sources.load(DataOptions(name, count=60))
    oracle = ORACLES[name]
    assert oracle.classes == data.spec.classes
    np.testing.assert_array_equal(oracle.read(data.columns["x"], data.spec), data.columns["label"])


@pytest.mark.parametrize("name", ["mixture", "rings"])
def test_a_point_between_classes_is_of_none(name):
    spec = sources.load(DataOptions(name, count=1)).spec
    read = ORACLES[name].read
    assert read(np.zeros((1, 2)), spec) == [-1]
    spread, radius = {
        "mixture": (points.MODE_SPREAD, points.MODE_RADIUS),
        "rings": (points.RING_SPREAD, points.RADII[-1]),
    }[name]
    near = np.array([[radius + 4.9 * spread, 0.0], [radius + 5.1 * spread, 0.0]])
    found = read(near, spec)
    assert found[0] >= 0 and found[1] == -1


def test_a_tone_between_notes_and_a_clip_that_changes_are_of_none():
    data = sources.load(DataOptions("tones", count=40))
    waves = data.columns["x"]
    slower = np.stack([np.interp(np.arange(512) / 1.03, np.arange(512), w[:, 0]) for w in waves])
    read = ORACLES["tones"].read
    assert (read(slower[..., None], data.spec) == -1).all()
    assert read(np.zeros((1, 512, 1)), data.spec) == [-1]
    data = sources.load(DataOptions("moving_shapes", count=8))
    clips, read = data.columns["x"].copy(), ORACLES["moving_shapes"].read
    clips[:, 4:] = clips[::-1, 4:]  # each goes on as another
    assert (read(clips, data.spec) == -1).all()


def test_as_features_they_are_sure_and_have_a_class_for_the_rest():
    spec = sources.load(DataOptions("mixture", count=8)).spec
    row = FEATURES["oracle"](spec)
    row.check(spec)
    classes = row.classes({})
    assert classes == (*spec.classes, NONE)
    x = np.array([[points.MODE_RADIUS, 0.0], [0.0, 0.0], [0.0, points.MODE_RADIUS]], np.float32)
    seen = jax.jit(lambda x: row.see((), x, {}))(x)
    places = [0, 8, 2]
    np.testing.assert_array_equal(seen.features, np.eye(9)[places])
    np.testing.assert_array_equal(seen.log_probs.argmax(1), places)
    np.testing.assert_allclose(np.exp(seen.log_probs).sum(1), 1, rtol=1e-5)
    assert (np.exp(seen.log_probs.max(1)) > 0.999).all()


def test_data_that_nothing_reads_are_refused_with_the_remedy():
    config = complete(load_config(f"{ROOT}/configs/quickstart.py"))
    config = override(config, ["--config.features.name=oracle"])
    digits = sources.load(DataOptions("digits")).spec
    with pytest.raises(UserError, match="features: nothing reads .* features.name=classifier"):
        assemble(config, digits)
