"""Synthetic harmonic tones of known pitch, and the pitch of any wave.

Tone i of a rate is drawn from a counter, so it is a function of (rate, length, i) alone.
"""

from typing import NamedTuple

import numpy as np

from ddm_jax.data.counter import uniform

RATE, LENGTH = 8000, 512  # samples a second, and samples of a tone, where nothing else is said
PARTIALS = 4
# The minor pentatonic scale from A2 to A4 by semitones above A2, whose steps are 2 or more.
NOTES = {
    **{"A2": 0, "C3": 3, "D3": 5, "E3": 7, "G3": 10},
    **{"A3": 12, "C4": 15, "D4": 17, "E4": 19, "G4": 22, "A4": 24},
}
FREQUENCIES = 110.0 * 2.0 ** (np.array([*NOTES.values()]) / 12)  # Hz, in equal temperament
CLASSES = tuple(f"{note} {f:.0f} Hz" for note, f in zip(NOTES, FREQUENCIES, strict=True))
LEAST_RATE = 2 * PARTIALS * int(FREQUENCIES[-1])  # twice the highest partial

_STEP = 0.0025  # between the logarithms of frequencies that `fundamental` tries
_FADE = 0.84  # of the weights of its partials
_FINER = 32  # how many frequencies a wave's spectrum has for each that it needs
_ROWS = 256  # waves at once


class Tones(NamedTuple):
    """Waves (n, length) in [-1, 1], and the places (n,) of their notes among CLASSES."""

    waves: np.ndarray
    labels: np.ndarray


def partials(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Amplitudes and phases (n, PARTIALS) of tones by their indices (n,).

    The amplitude of partial k is u_k / k over the sum of all 1 / k, u_k even in [0.5, 1): so they
    sum to less than 1. Phases are even in [0, 2 pi).
    """
    k = np.arange(1, PARTIALS + 1)
    u, v = (
        np.stack([uniform(0, first + n, index) for n in range(PARTIALS)], -1)
        for first in (3, 3 + PARTIALS)
    )
    return (1 + u) / 2 / k / (1 / k).sum(), 2 * np.pi * v


def tones(index: np.ndarray, rate: int = RATE, length: int = LENGTH) -> Tones:
    """sum_k a_k sin(2 pi k f j / rate + phi_k) at j = 0, ..., length - 1, f the pitch of a note.

    index: (n,). rate: samples a second, above LEAST_RATE. Notes are equally likely.
    """
    label = (uniform(0, 2, index) * len(FREQUENCIES)).astype(np.int32)
    amplitude, phase = partials(index)
    waves = np.zeros((len(index), length))
    for k in range(PARTIALS):
        turns = (k + 1) * FREQUENCIES[label][:, None] * np.arange(length) / rate
        waves += amplitude[:, k, None] * np.sin(2 * np.pi * turns + phase[:, k, None])
    return Tones(waves, label)


def fundamental(
    waves: np.ndarray, rate: float, low: float = 60.0, high: float = 1000.0
) -> np.ndarray:
    """The pitch in Hz (...) of waves (..., samples), float64; nan of one that is silent throughout.

    The frequency f between `low` and `high` with the largest sum of |X(k f)| 0.84^(k - 1) over
    PARTIALS partials k, X the spectrum of the wave under a Hann window, found on a grid of
    logarithms and refined by the parabola through the three sums around it. Those beyond half the
    rate are 0. rate: samples a second. A wave should last four periods or more. Subharmonic
    summation, Hermes 1988, doi:10.1121/1.396427.
    """
    flat = np.asarray(waves, np.float64).reshape(-1, np.shape(waves)[-1])
    parts = [flat[start : start + _ROWS] for start in range(0, len(flat), _ROWS)]
    found = [_pitches(part, rate, low, high) for part in parts]
    return np.concatenate([np.zeros(0), *found]).reshape(np.shape(waves)[:-1])


def _pitches(waves: np.ndarray, rate: float, low: float, high: float) -> np.ndarray:
    length = waves.shape[-1]
    size = 2 ** int(np.ceil(np.log2(_FINER * length)))
    centred = waves - waves.mean(-1, keepdims=True)
    spectrum = abs(np.fft.rfft(centred * np.hanning(length), size))
    tried = np.arange(np.log(low), np.log(high), _STEP)
    sums = np.zeros((len(waves), len(tried)))
    for k in range(1, PARTIALS + 1):
        place = k * np.exp(tried) * size / rate
        inside = place < spectrum.shape[-1] - 1
        below = np.where(inside, place, 0).astype(int)
        share = place - below
        value = (1 - share) * spectrum[:, below] + share * spectrum[:, below + 1]
        sums += np.where(inside, _FADE ** (k - 1) * value, 0)
    best = np.clip(sums.argmax(-1), 1, len(tried) - 2)
    before, peak, after = (sums[np.arange(len(sums)), best + d] for d in (-1, 0, 1))
    bend = before - 2 * peak + after
    curved = bend < 0
    aside = np.clip(np.where(curved, (before - after) / np.where(curved, 2 * bend, 1), 0), -1, 1)
    return np.where(peak > 0, np.exp(tried[best] + _STEP * aside), np.nan)
