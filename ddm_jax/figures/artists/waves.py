"""Who draws waves, and lets them be heard."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ddm_jax.data.wav import write_wav
from ddm_jax.figures import sounds
from ddm_jax.figures.artists.base import Room
from ddm_jax.figures.artists.images import Images


@dataclass(frozen=True)
class Waves:
    """Waves (samples, 1) from `low` to `high`, `rate` samples a second, 0 where that is not known.

    PNG, and GIF or MP4 for animations; a grid has the waves one after the other beside it, as a
    sound and as a spectrogram.
    """

    room: ClassVar[Room] = Room()

    low: float = -1.0
    high: float = 1.0
    rate: float = 0.0

    def grid(
        self,
        examples: np.ndarray,
        path: Path,
        columns: int = 10,
        captions: Sequence[str] | None = None,
    ) -> None:
        self._images.grid(self._curves(examples), path, columns, captions)
        if self.rate:
            sound = sounds.placed(examples, self._ends).ravel()
            write_wav(path.with_suffix(".wav"), sound, round(self.rate))
            beside = path.with_name(f"{path.stem}{sounds.BESIDE}{path.suffix}")
            sounds.spectrogram_figure(sound, self.rate, beside)

    def strip(
        self,
        rows: np.ndarray,
        path: Path,
        names: Sequence[str],
        columns: Sequence[str],
        title: str = "",
    ) -> None:
        self._images.strip(self._curves(rows), path, names, columns, title)

    def forward(
        self, x_t: np.ndarray, path: Path, times: np.ndarray, logsnr: Sequence[float]
    ) -> None:
        self._images.forward(self._curves(x_t), path, times, logsnr)

    def reverse(
        self,
        x_t: np.ndarray,
        x0: np.ndarray,
        path: Path,
        times: np.ndarray,
        title: str,
        names: Sequence[str],
    ) -> None:
        self._images.reverse(self._curves(x_t), self._curves(x0), path, times, title, names)

    def animation(self, frames: np.ndarray, path: Path, ms: int = 60, hold: int = 1500) -> None:
        self._images.animation(self._curves(frames), path, ms, hold)

    @property
    def _images(self) -> Images:
        """Who draws pictures of curves, which are in [0, 1]."""
        return Images()

    @property
    def _ends(self) -> tuple[float, float]:
        return self.low, self.high

    def _curves(self, waves: np.ndarray) -> np.ndarray:
        return sounds.curves(waves, self._ends)
