"""Who draws what kind of data: decoded values to files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ddm_jax.data.dataset import Spec
from ddm_jax.data.wav import write_wav
from ddm_jax.errors import unknown
from ddm_jax.figures import clouds, films, plots, sounds
from ddm_jax.figures.base import Artist, Room


@dataclass(frozen=True)
class Images:
    """Pictures (H, W, 1 or 3) from black, `low`, to `high`: PNG, and GIF or MP4 for animations."""

    room: ClassVar[Room] = Room()

    low: float = 0.0
    high: float = 1.0

    def grid(
        self,
        examples: np.ndarray,
        path: Path,
        columns: int = 10,
        captions: Sequence[str] | None = None,
    ) -> None:
        tiles = plots.to_uint8(self._light(examples))
        if captions is None:
            plots.grid(tiles, columns, path)
        else:
            plots.labelled_grid(tiles, columns, captions, path)

    def strip(
        self,
        rows: np.ndarray,
        path: Path,
        names: Sequence[str],
        columns: Sequence[str],
        title: str = "",
    ) -> None:
        plots.strip(self._light(rows), names, columns, title, path)

    def forward(
        self, x_t: np.ndarray, path: Path, times: np.ndarray, logsnr: Sequence[float]
    ) -> None:
        plots.forward_strip(self._light(x_t), times, logsnr, path)

    def reverse(
        self,
        x_t: np.ndarray,
        x0: np.ndarray,
        path: Path,
        times: np.ndarray,
        title: str,
        names: Sequence[str],
    ) -> None:
        x_t, x0 = self._light(x_t), self._light(x0)
        plots.reverse_strip(x_t, x0, times, title, names, path)

    def animation(self, frames: np.ndarray, path: Path, ms: int = 60, hold: int = 1500) -> None:
        tiles = plots.to_uint8(self._light(frames))
        columns = int(np.ceil(np.sqrt(tiles.shape[1])))
        alone = tiles.shape[1] == 1
        films.animation(tiles[:, 0] if alone else films.mosaic(tiles, columns), path, ms, hold)

    def _light(self, values: np.ndarray) -> np.ndarray:
        """Values in [0, 1], black to white."""
        return (values - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Points:
    """Points (2,) in a square plane from `low` to `high`: PNG, and GIF or MP4 for animations."""

    room: ClassVar[Room] = Room(10_000, 200, 200, 2000)

    low: float = 0.0
    high: float = 1.0

    def grid(
        self,
        examples: np.ndarray,
        path: Path,
        columns: int = 10,
        captions: Sequence[str] | None = None,
    ) -> None:
        clouds.cloud(examples, self._ends, captions, path)

    def strip(
        self,
        rows: np.ndarray,
        path: Path,
        names: Sequence[str],
        columns: Sequence[str],
        title: str = "",
    ) -> None:
        clouds.ways(rows, self._ends, names, columns, title=title, path=path)

    def forward(
        self, x_t: np.ndarray, path: Path, times: np.ndarray, logsnr: Sequence[float]
    ) -> None:
        columns = plots.noise_titles(times, logsnr)
        clouds.panels(x_t, self._ends, columns, plots.FORWARD, path=path)

    def reverse(
        self,
        x_t: np.ndarray,
        x0: np.ndarray,
        path: Path,
        times: np.ndarray,
        title: str,
        names: Sequence[str],
    ) -> None:
        columns = [f"t = {t:.2f}" for t in times]
        clouds.panels(x_t, self._ends, columns, f"{title}; lines lead to x0_hat", to=x0, path=path)

    def animation(self, frames: np.ndarray, path: Path, ms: int = 60, hold: int = 1500) -> None:
        films.animation(clouds.frames(frames, self._ends), path, ms, hold)

    @property
    def _ends(self) -> tuple[float, float]:
        return self.low, self.high


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


ARTISTS: dict[str, Callable[[Spec], Artist]] = {
    "image": lambda spec: Images(*spec.shown),
    "points": lambda spec: Points(*spec.shown),
    "wave": lambda spec: Waves(*spec.shown, spec.rate),
}


def artist_of(spec: Spec) -> Artist:
    """The artist of data of a kind, whose decoded values lie in the range `spec.shown`."""
    if spec.kind not in ARTISTS:
        raise unknown("kind of data", spec.kind, ARTISTS)
    return ARTISTS[spec.kind](spec)
