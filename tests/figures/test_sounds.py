"""Waves are drawn where they are and heard as they are."""

import numpy as np
import pytest
from PIL import Image

from ddm_jax.data.wav import read_wav
from ddm_jax.errors import RunError
from ddm_jax.figures import sounds
from ddm_jax.figures.artists.waves import Waves
from ddm_jax.figures.sounds import HEIGHT, WIDTH

ENDS = (-1.0, 1.0)


def drawn(wave, ends=ENDS):
    """Where the ink is, (HEIGHT, WIDTH)."""
    return sounds.curves(np.asarray(wave, float)[:, None], ends)[..., 0] < 0.5


def test_a_straight_line_is_drawn_from_corner_to_corner_upwards():
    for count in (2, 90, 512, 5000):
        ink = drawn(np.linspace(-1, 1, count))
        assert ink.any(0).all() and ink.any(1).all()
        middle = (ink * np.arange(HEIGHT)[:, None]).sum(0) / ink.sum(0)
        line = (HEIGHT - 1) * (1 - (np.arange(WIDTH) + 0.5) / WIDTH)
        assert abs(middle - line).max() <= 0.51


def test_a_level_is_one_row_and_zero_has_a_line_of_its_own():
    for value, row in ((1.0, 0), (-1.0, HEIGHT - 1), (1 / 3, 21)):
        assert np.flatnonzero(drawn(np.full(40, value)).any(1)).tolist() == [row]
    paper = sounds.curves(np.ones((40, 1)), ENDS)[..., 0]
    (zero,) = np.flatnonzero((paper == paper[HEIGHT // 2]).all(1))
    assert zero == HEIGHT // 2 and paper[zero, 0] < 1


def test_one_sample_that_stands_out_is_seen_at_its_place():
    wave = np.zeros(1024)
    wave[600] = 1.0
    ink = drawn(wave)
    tall = np.flatnonzero(ink[:5].any(0))
    assert tall.tolist() == [600 * WIDTH // 1023] and ink[5 : HEIGHT // 2, tall].all()


def test_waves_beyond_the_range_are_drawn_on_its_edge_and_nan_is_refused():
    assert drawn([5.0, 5.0])[0].all() and drawn([0.5, 0.5], (0.0, 0.5))[0].all()
    with pytest.raises(RunError, match="not finite"):
        sounds.curves(np.array([[np.nan], [0.0]]), ENDS)


def test_every_wave_of_a_table_has_its_own_picture():
    waves = np.random.default_rng(0).uniform(-1, 1, (2, 3, 50, 1))
    table = sounds.curves(waves, ENDS)
    assert table.shape == (2, 3, HEIGHT, WIDTH, 1)
    np.testing.assert_array_equal(table[1, 2], sounds.curves(waves[1, 2], ENDS))


def test_a_sine_is_0_decibels_at_its_frequency_and_lower_at_half_the_amplitude():
    time = np.arange(2048)
    for k in (5, 60):
        found = sounds.spectrogram(np.sin(2 * np.pi * k * time / 256 + 0.4))
        assert found.shape == (129, 15) and (found.argmax(0) == k).all()
        np.testing.assert_allclose(found[k], 0, atol=1e-6)
        np.testing.assert_allclose(found[k + 1], 20 * np.log10(0.5), atol=1e-6)
        assert found[k + 3 :].max() < -100
    half = sounds.spectrogram(0.5 * np.sin(2 * np.pi * 60 * time / 256))
    np.testing.assert_allclose(half[60], -6.0206, atol=1e-3)


def test_a_spectrogram_goes_from_the_left_to_the_right_and_takes_any_length():
    time = np.arange(4096)
    sound = np.where(time < 2048, np.sin(0.2 * time), np.sin(1.5 * time))
    peak = sounds.spectrogram(sound).argmax(0)
    assert (np.diff(peak) >= 0).all() and abs(peak[0] - 0.2 * 256 / (2 * np.pi)) <= 1
    assert sounds.spectrogram(np.ones(9)).shape == (129, 1)


def test_a_grid_can_be_heard_one_wave_after_the_other(tmp_path):
    waves = np.random.default_rng(1).uniform(-1.2, 1.2, (3, 400, 1)).astype(np.float32)
    Waves(*ENDS, rate=8000.0).grid(waves, tmp_path / "grid.png", 2, list("abc"))
    found = read_wav(tmp_path / "grid.wav")
    assert found.rate == 8000
    np.testing.assert_allclose(found.samples, np.clip(waves, *ENDS).ravel(), atol=4e-5)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"grid.png", "grid.wav", f"grid{sounds.BESIDE}.png"}
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.width >= 2 * WIDTH and picture.height >= 2 * HEIGHT


def test_waves_whose_rate_nobody_knows_are_drawn_alone(tmp_path):
    Waves(*ENDS).grid(np.zeros((2, 30, 1)), tmp_path / "grid.png")
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]
