"""Clips and volumes are drawn whole: frames, slices and maxima stand where they belong."""

import numpy as np
from PIL import Image, ImageSequence

from ddm_jax.figures import stacks
from ddm_jax.figures.artists.images import Clips

RNG = np.random.default_rng(0)


def test_every_frame_stands_on_the_sheet_row_by_row():
    frames = RNG.uniform(0, 0.9, (2, 5, 4, 6, 3))
    sheet = stacks.sheet(frames, 3)
    assert sheet.shape == (2, 9, 20, 3)
    for k in range(5):
        y, x = k // 3 * 5, k % 3 * 7
        np.testing.assert_array_equal(sheet[:, y : y + 4, x : x + 6], frames[:, k])
    white = (sheet == 1).all((0, 3))
    assert white[4].all() and white[:, 6].all() and white[5:, 14:].all()


def test_a_volume_is_seen_along_each_axis():
    volume = RNG.uniform(0, 0.9, (6, 4, 5, 1))
    seen = stacks.views(volume)
    assert seen.shape == (13, 20, 1)
    np.testing.assert_array_equal(seen[:4, :5], volume[3])
    np.testing.assert_array_equal(seen[:6, 7:12], volume[:, 2])
    np.testing.assert_array_equal(seen[:6, 14:18], volume[:, :, 2])
    np.testing.assert_array_equal(seen[7:11, :5], volume.max(0))
    np.testing.assert_array_equal(seen[7:13, 7:12], volume.max(1))
    np.testing.assert_array_equal(seen[7:13, 14:18], volume.max(2))


def frames_of(path):
    with Image.open(path) as film:
        frames = ImageSequence.Iterator(film)
        return np.stack([np.asarray(frame.convert("RGB"), float) for frame in frames])


def test_beside_a_grid_the_clips_play(tmp_path):
    """Frame k of the film is as light as frame k of the clip."""
    levels = np.linspace(0.1, 0.9, 5)
    clip = np.broadcast_to(levels[:, None, None, None], (1, 5, 8, 8, 3))
    Clips().grid(clip, tmp_path / "grid.png")
    film = frames_of(tmp_path / "grid.gif")
    np.testing.assert_allclose(film.mean((1, 2, 3)), 255 * levels, atol=2)
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.width > 5 * 8


def test_clips_play_while_noise_goes_and_twice_at_the_end(tmp_path):
    levels = np.linspace(0.1, 0.9, 3)
    clip = np.broadcast_to(levels[:, None, None, None], (4, 1, 3, 8, 8, 3))
    Clips().animation(clip, tmp_path / "film.gif")
    film = frames_of(tmp_path / "film.gif").mean((1, 2, 3))
    expected = levels[[0, 1, 2, 0, 0, 1, 2, 0, 1, 2]]
    # A GIF holds equal frames that follow each other as one.
    np.testing.assert_allclose(film, 255 * np.delete(expected, 4), atol=2)
