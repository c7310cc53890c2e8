"""Geometric augmentation: what labels do to pictures, and how often they are drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from ddm_jax.data.columns import spec_of
from ddm_jax.data.geometry import KINDS, Geometric, reflected, resampled

SIZE = 24
PLACE = {
    kind: slice(end - n, end)
    for (kind, n), end in zip(KINDS.items(), np.cumsum([*KINDS.values()]), strict=True)
}
EVERY = Geometric(kinds=tuple(KINDS), move=0.25)
APPLY = jax.jit(EVERY.apply)


def label(**values):
    """The label (1, 11) with these numbers of its kinds."""
    found = np.zeros((1, 11), np.float32)
    for kind, value in values.items():
        found[0, PLACE[kind]] = value
    return {"geometry": found}


def turned(angle):
    return {"rotate": (np.cos(angle) - 1, np.sin(angle))}


def along(z, angle):
    return {"stretch": (z * np.cos(2 * angle), z * np.sin(2 * angle))}


def places(height=SIZE, width=SIZE):
    """A picture whose two channels are the row and the column from the middle, (1, H, W, 2)."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([rows - (height - 1) / 2, columns - (width - 1) / 2], -1)[None]


def test_the_label_zero_is_the_picture_as_it_is():
    picture = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3))
    np.testing.assert_array_equal(APPLY(picture, label()), picture)


def rotation(angle):
    """On (column, upward row): counterclockwise as seen."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@pytest.mark.parametrize(
    ("values", "matrix", "by"),
    [
        (turned(0.4), rotation(0.4), (0, 0)),
        ({"scale": 1.5}, 2**0.3 * np.eye(2), (0, 0)),
        (along(1.2, 0.0), np.diag([2**0.24, 2**-0.24]), (0, 0)),
        (
            along(-1.2, 0.7),
            rotation(0.7) @ expm(np.log(2) * np.diag([-0.24, 0.24])) @ rotation(-0.7),
            (0, 0),
        ),
        ({"shift": (0.5, -1.0)}, np.eye(2), (-3.0, 1.5)),
        ({"move": (0.3, -0.6)}, np.eye(2), (-4.0, 2.0)),
        (
            {"flip": 1, "mirror": 1, "move": (0.5, 0.2), "scale": -0.5} | turned(2.0),
            -rotation(2.0) * 2**-0.1,
            tuple(rotation(-2.0) * 2**-0.1 @ np.array([1.0, 3.0])),
        ),
    ],
    ids=repr,
)
def test_changes_are_the_matrices_that_they_are_named_for(values, matrix, by):
    """A pixel shows the point of the picture that the matrix takes to it, and `by` beyond.

    Points are (column, row), rows downwards; where they lie inside, planes are reproduced.
    """
    matrix = matrix.astype(np.float64)
    flip = np.diag([1.0, -1.0])
    down = flip @ matrix @ flip
    shift = np.array(by)
    found = np.asarray(APPLY(places(), label(**values)))[0, ..., ::-1]
    goal = places()[0, ..., ::-1]
    expected = (goal - shift) @ np.linalg.inv(down).T
    inside = (abs(expected) < (SIZE - 1) / 2 - 2).all(-1)
    assert inside.sum() > 100
    np.testing.assert_allclose(found[inside], expected[inside], atol=2e-4)


def test_quarter_turns_mirrors_and_flips_are_exact():
    picture = np.random.default_rng(1).normal(size=(1, SIZE, SIZE, 2)).astype(np.float32)
    np.testing.assert_array_equal(APPLY(picture, label(mirror=1)), picture[:, :, ::-1])
    np.testing.assert_array_equal(APPLY(picture, label(flip=1)), picture[:, ::-1])
    np.testing.assert_array_equal(
        APPLY(picture, label(rotate=(-1, 1))), np.rot90(picture, 1, (1, 2))
    )


@pytest.mark.parametrize(
    ("there", "back"),
    [
        (turned(0.5), turned(-0.5)),
        ({"scale": 1.0}, {"scale": -1.0}),
        (along(1.0, 0.3), along(1.0, 0.3 + np.pi / 2)),
        ({"shift": (0.3, 0.4)}, {"shift": (-0.3, -0.4)}),
        ({"move": (0.3, -0.4)}, {"move": (-0.3, 0.4)}),
        ({"mirror": 1, "flip": 1}, {"mirror": 1, "flip": 1}),
    ],
    ids=repr,
)
def test_a_change_is_undone_by_its_inverse(there, back):
    rows, columns = np.moveaxis(places(), -1, 0)
    picture = np.stack([np.sin(rows / 4), np.cos(columns / 5 + rows / 6)], -1)
    again = APPLY(APPLY(picture, label(**there)), label(**back))
    middle = slice(8, -8)
    np.testing.assert_allclose(again[:, middle, middle], picture[:, middle, middle], atol=0.01)


def test_beyond_the_edges_is_the_picture_reflected():
    index = np.arange(-9, 12)
    np.testing.assert_array_equal(reflected(index, 4), np.pad(range(4), (9, 8), "reflect"))
    np.testing.assert_array_equal(reflected(index, 1), 0)
    picture = jnp.arange(5.0)[None, :, None]
    points = np.stack(np.broadcast_arrays(0.0, np.arange(-3, 8.0)[None]), -1)
    expected = np.pad(range(5), 3, "reflect")
    np.testing.assert_allclose(resampled(picture, points)[0, :, 0], expected, atol=1e-6)


def test_each_kind_acts_on_a_share_of_its_own():
    augment = Geometric(0.2, tuple(KINDS))
    drawn = augment.draw(0, np.arange(20_000))["geometry"]
    acts = {kind: (drawn[:, place] != 0).any(1) for kind, place in PLACE.items()}
    for kind, acting in acts.items():
        share = {"mirror": 0.5, "flip": 0.1}.get(kind, 0.2)
        assert acting.mean() == pytest.approx(share, abs=0.012)
    both = np.corrcoef([*acts.values()]) - np.eye(len(acts))
    assert abs(both).max() < 0.03
    for kind in ("scale", "shift"):
        values = drawn[acts[kind], PLACE[kind]]
        np.testing.assert_allclose(values.std(0), 1, atol=0.04)
        np.testing.assert_allclose(values.mean(0), 0, atol=0.05)
    cos, sin = drawn[acts["rotate"], PLACE["rotate"]].T
    np.testing.assert_allclose((cos + 1) ** 2 + sin**2, 1, atol=1e-5)
    few = Geometric(1.0, ("rotate",)).draw(0, np.arange(100))["geometry"]
    assert (few[:, PLACE["rotate"]] != 0).any(1).all()
    few[:, PLACE["rotate"]] = 0
    assert not few.any()


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ValueError, match="some of mirror, flip"):
        Geometric(kinds=("mirror", "blur"))
    with pytest.raises(ValueError, match="share"):
        Geometric(share=0.0)
    wave = spec_of("tones", {"x": np.zeros((3, 8, 1), np.float32)}, kind="wave", low=-1.0, high=1.0)
    assert "no pictures" in (Geometric().spoils(wave) or "")
