"""What a Spec says of data: their range, their statistics, and whether they are the same."""

import dataclasses
import json

import numpy as np
import pytest

from ddm_jax.data.columns import spec_of
from ddm_jax.data.dataset import DataOptions, Latents, Spec, check_same_data
from ddm_jax.data.sources import load
from ddm_jax.errors import UserError

RNG = np.random.default_rng(0)
WAVES = {"kind": "wave", "low": -1.0, "high": 1.0, "levels": 0, "rate": 8000.0}


def waves(count=9, length=50, channels=2):
    return RNG.uniform(-1, 1, (count, length, channels)).astype(np.float32)


def test_statistics_of_bytes_are_exact_per_channel():
    images = RNG.integers(0, 256, (50, 4, 4, 3), dtype=np.uint8)
    spec = spec_of("x", {"x": images})
    np.testing.assert_allclose(spec.mean, (images / 255).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(spec.std, (images / 255).std((0, 1, 2)), rtol=1e-9)


@pytest.mark.parametrize("count", [9, 5000])  # in one part and in two
def test_statistics_of_floats_are_those_of_their_range_scaled_to_one(count):
    x = waves(count, 5)
    spec = spec_of("x", {"x": x}, **WAVES)
    unit = (x.astype(np.float64) + 1) / 2
    np.testing.assert_allclose(spec.mean, unit.mean((0, 1)), rtol=1e-12)
    np.testing.assert_allclose(spec.std, unit.std((0, 1)), rtol=1e-12)
    assert spec.shown == (-1, 1) and spec.shape == (5, 2)


def test_bytes_of_fewer_levels_are_scaled_by_their_range():
    x = RNG.integers(0, 17, (20, 3, 3, 1), dtype=np.uint8)
    spec = spec_of("x", {"x": x}, high=16.0, levels=17)
    assert spec.mean[0] == pytest.approx((x / 16).mean(), rel=1e-12)
    np.testing.assert_allclose(spec.show(x), x / np.float32(16), rtol=1e-7)


def test_values_that_are_not_finite_are_refused():
    x = waves()
    x[3, 2, 1] = np.nan
    with pytest.raises(UserError, match="tones holds values that are not finite"):
        spec_of("tones", {"x": x}, **WAVES)


def test_files_of_earlier_versions_are_of_images():
    old = {
        "name": "digits",
        "shape": [8, 8, 1],
        "count": 3,
        "classes": ["0"],
        "captioned": False,
        "mean": [0.3],
        "std": [0.4],
    }
    spec = Spec.read(json.loads(json.dumps(old)))
    assert (spec.kind, spec.low, spec.high, spec.levels, spec.rate) == ("image", 0, 255, 256, 0)
    assert spec.shown == (0, 1) and spec.sha256 == () and hash(spec)


def test_a_spec_is_what_json_gives_back():
    spec = spec_of("x", {"x": waves()}, ("a", "b"), **WAVES)
    assert Spec.read(json.loads(json.dumps(dataclasses.asdict(spec)))) == spec


@pytest.mark.parametrize(
    "change, message",
    [
        ({"rate": 16000.0}, "rate is 16000.0, was 8000.0"),
        ({"levels": 256}, "levels is 256, was 0"),
        ({"high": 2.0}, "high is 2.0, was 1.0"),
        ({"kind": "image"}, "kind is image, was wave"),
    ],
)
def test_data_of_another_kind_or_range_are_others(change, message):
    was = spec_of("x", {"x": waves()}, **WAVES)
    with pytest.raises(UserError, match=f"on: {message}; bring"):
        check_same_data(dataclasses.replace(was, **change), was)


def test_text_is_the_same_whatever_room_the_array_has():
    x = np.zeros((2, 1, 1, 1), np.uint8)
    one, other = (
        spec_of("x", {"x": x, "text": np.array(["a", "bc"], dtype)}) for dtype in ("U2", "U9")
    )
    assert one.sha256 == other.sha256 and one.captioned
    assert spec_of("x", {"x": x, "text": np.array(["a", "bd"])}).sha256[2] != one.sha256[2]


def test_sources_say_whether_mirroring_spoils_them():
    assert not load(DataOptions()).spec.mirrors
    assert load(DataOptions(name="shapes", count=2)).spec.mirrors


def test_rows_are_all_columns_of_some_examples_and_numbers_those_without_text():
    data = load(DataOptions(name="shapes", count=6))
    some = np.array([4, 1])
    rows = data.rows(some)
    assert rows.keys() == {"x", "label", "text"} and data.numbers(some).keys() == {"x", "label"}
    for name, column in data.columns.items():
        np.testing.assert_array_equal(rows[name], column[some])


LATENTS = Latents((4, 4, 2), (0.0, 5.0), (1.0, 10.0), "digest")


def test_latents_are_read_back_as_they_were_written():
    spec = dataclasses.replace(spec_of("x", {"x": waves()}), latents=LATENTS)
    again = Spec.read(json.loads(json.dumps(dataclasses.asdict(spec))))
    assert again == spec and hash(again) == hash(spec)


@pytest.mark.parametrize(
    "change, alike",
    [
        ({"mean": (0.0, 5.009)}, True),  # in units of the deviation of the channel
        ({"mean": (0.009, 5.0)}, False),
        ({"std": (1.0, 10.02)}, False),
        ({"sha256": "other"}, False),
        ({"shape": (4, 2, 2)}, False),
    ],
)
def test_latents_are_alike_but_for_rounding(change, alike):
    other = dataclasses.replace(LATENTS, **change)
    assert LATENTS.alike(LATENTS) and LATENTS.alike(other) == alike
