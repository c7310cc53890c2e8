"""Artists draw decoded values of any range, and leave the files that they are asked for."""

import numpy as np
import pytest
from PIL import Image

from ddm_jax.data.dataset import Spec
from ddm_jax.errors import UserError
from ddm_jax.figures.artists import ARTISTS, artist_of
from ddm_jax.figures.artists.images import Images

RNG = np.random.default_rng(0)
SHAPE = {
    "image": (12, 16, 3),
    "clip": (3, 4, 6, 3),
    "volume": (4, 4, 6, 1),
    "points": (2,),
    "wave": (40, 1),
}
RANGES = [(0.0, 1.0), (-1.0, 1.0), (-300.0, 500.0)]


def spec(kind, low, high):
    """Of values without levels."""
    about = {"kind": kind, "low": low, "high": high, "levels": 0, "rate": 8000.0}
    return Spec("x", SHAPE.get(kind, ()), 1, (), False, (0.5,), (0.2,), **about)


@pytest.mark.parametrize("kind", ARTISTS)
@pytest.mark.parametrize("low, high", RANGES)
def test_an_artist_leaves_every_picture_that_is_asked_for(kind, low, high, tmp_path):
    artist, shape = artist_of(spec(kind, low, high)), SHAPE[kind]
    values = RNG.uniform(low, high, (3, 2, *shape)).astype(np.float32)
    times, names = np.array([1, 0.5, 0.1], np.float32), ["a", "b"]
    drawn = {
        "grid.png": lambda path: artist.grid(values[0], path),
        "labelled.png": lambda path: artist.grid(values[0], path, 2, names),
        "strip.png": lambda path: artist.strip(values, path, list("abc"), names, title="title"),
        "forward.png": lambda path: artist.forward(values, path, times, [3.0, 0.0, -3.0]),
        "reverse.png": lambda path: artist.reverse(
            values, values, path, times, title="way", names=names
        ),
        "film.gif": lambda path: artist.animation(values, path, 50, 100),
    }
    for name, draw in drawn.items():
        draw(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 0, name


@pytest.mark.parametrize("low, high", RANGES)
def test_images_are_black_at_the_low_end_and_white_at_the_high(low, high, tmp_path):
    steps = np.linspace(low, high, 256, dtype=np.float32).reshape(1, 16, 16, 1)
    Images(low, high).grid(steps, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as picture:
        pixels = np.asarray(picture)
    gap = 6  # a tenth of 64
    np.testing.assert_array_equal(pixels[gap:-gap:4, gap:-gap:4].ravel(), np.arange(256))


def test_one_example_fills_the_frames_and_more_lie_side_by_side(tmp_path):
    values = RNG.uniform(0, 1, (4, 3, 8, 8, 1))
    for count, size in ((1, (256, 256)), (3, (242, 242))):
        Images().animation(values[:, :count], tmp_path / "film.gif")
        with Image.open(tmp_path / "film.gif") as film:
            assert film.n_frames == 4 and film.size == size


def test_a_kind_that_nobody_draws_is_answered_with_those_that_are():
    with pytest.raises(UserError, match="unknown kind of data 'imag'; did you mean 'image'"):
        artist_of(spec("imag", 0, 1))


def test_the_artist_of_images_with_levels_is_given_the_unit_range():
    bytes_ = Spec("x", (8, 8, 1), 1, (), False, (0.5,), (0.2,))
    assert artist_of(bytes_) == Images(0, 1)
