"""Waves as pictures of their curves, and sounds as spectrograms.

Waves are (..., samples, 1) in the range that `ends` gives; beyond it they are drawn on its edge.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ddm_jax.errors import RunError
from ddm_jax.figures.plots import saved

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Ends = tuple[float, float]

BESIDE = "_spectrogram"  # what the name of a spectrogram adds to that of the picture beside it
HEIGHT, WIDTH = 64, 128  # pixels of a picture of a curve
_AXIS, _INK = 0.85, 0.1  # grey of the line of zero, and of the curve on white
_FINE = 4  # places at which a curve is looked up, for each sample or column
_DEEPEST = -80.0  # decibels below the loudest that are drawn


def placed(waves: np.ndarray, ends: Ends) -> np.ndarray:
    """Waves within the range, float64; RunError for nan, which has no place there."""
    waves = np.asarray(waves, np.float64)
    if not np.isfinite(waves).all():
        raise RunError("a wave holds values that are not finite, and is not drawn")
    return np.clip(waves, *ends)


def curves(waves: np.ndarray, ends: Ends) -> np.ndarray:
    """Pictures (..., HEIGHT, WIDTH, 1) in [0, 1] of waves (..., samples, 1): dark on white.

    A column shows the heights that the straight lines between its samples pass through, looked up
    at _FINE places a sample or more.
    """
    values = placed(waves, ends)[..., 0]
    count = values.shape[-1]
    each = _FINE * max(1, -(-count // WIDTH))
    place = np.linspace(0, count - 1, WIDTH * each + 1)
    below = np.minimum(place.astype(int), max(count - 2, 0))
    above = np.minimum(below + 1, count - 1)
    share = place - below
    fine = (1 - share) * values[..., below] + share * values[..., above]
    column = np.arange(WIDTH)[:, None] * each + np.arange(each + 1)
    heights = _row(fine[..., column], ends)
    top, bottom = heights.min(-1)[..., None, :], heights.max(-1)[..., None, :]
    row = np.arange(HEIGHT)[:, None]
    paper = np.where(row == _row(np.clip(np.zeros(1), *ends), ends), _AXIS, 1.0)
    return np.where((top <= row) & (row <= bottom), _INK, paper)[..., None]


def _row(values: np.ndarray, ends: Ends) -> np.ndarray:
    """The row of a picture in which a value is drawn, the highest value in row 0."""
    low, high = ends
    return np.rint((high - values) / (high - low) * (HEIGHT - 1)).astype(int)


def spectrogram(sound: np.ndarray, window: int = 256) -> np.ndarray:
    """Decibels (window / 2 + 1, frames) of a sound (samples,) over frequency and time.

    20 log10 of |X| of each stretch of `window` samples under a Hann window, every half window,
    scaled so that a sine of amplitude 1 on a frequency of the grid has 0. Frequency k is k / window
    of the rate. Silence follows a sound that is shorter than a stretch.
    """
    sound = np.asarray(sound, np.float64)
    sound = np.pad(sound, (0, max(0, window - len(sound))))
    stretches = np.lib.stride_tricks.sliding_window_view(sound, window)[:: window // 2]
    weights = np.hanning(window + 1)[:-1]
    amplitude = 2 / weights.sum() * abs(np.fft.rfft(stretches * weights))
    return 20 * np.log10(np.maximum(amplitude, 1e-10)).T


def spectrogram_figure(sound: np.ndarray, rate: float, path: Path | None = None) -> "Figure":
    """The spectrogram of a sound (samples,) in [-1, 1], with `rate` samples a second.

    A matplotlib Figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.add_subplot(xlabel="seconds", ylabel="Hz", title="one after the other")
    decibels = spectrogram(sound)
    extent = (0, len(sound) / rate, 0, rate / 2)
    image = axes.imshow(
        decibels,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="magma",
        vmin=decibels.max() + _DEEPEST,
        vmax=decibels.max(),
    )
    figure.colorbar(image, ax=axes, label="dB, 0 for a sine of amplitude 1")
    return saved(figure, path)
