"""Who draws what kind of data: decoded values to files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from ddm_jax.errors import unknown
from ddm_jax.figures import clouds, films, plots, stacks


class Room(NamedTuple):
    """How many examples there is room for: in a grid, in a strip with a row each, in a strip of the
    way from noise, and in one of noised examples."""

    grid: int = 400
    strip: int = 8
    reverse: int = 4
    forward: int = 6


class Artist(Protocol):
    """Draws examples of one kind and writes the file `path`.

    All arrays end in the shape of an example, and hold its decoded values.
    """

    room: ClassVar[Room]

    def grid(
        self,
        examples: np.ndarray,
        path: Path,
        columns: int = 10,
        captions: Sequence[str] | None = None,
    ) -> None:
        """Examples (n, ...) side by side, with a caption (n,) each where there are any."""
        ...

    def strip(
        self,
        rows: np.ndarray,
        path: Path,
        names: Sequence[str],
        columns: Sequence[str],
        title: str = "",
    ) -> None:
        """A table (R, K, ...) with R row names and K column titles."""
        ...

    def forward(
        self, x_t: np.ndarray, path: Path, times: np.ndarray, logsnr: Sequence[float]
    ) -> None:
        """Examples noised to several times, x_t (n, B, ...) at times (n,)."""
        ...

    def reverse(
        self,
        x_t: np.ndarray,
        x0: np.ndarray,
        path: Path,
        times: np.ndarray,
        title: str,
        names: Sequence[str],
    ) -> None:
        """The way from noise, x_t and the estimates x0 (n, B, ...) at times (n,).

        names: (B,).
        """
        ...

    def animation(self, frames: np.ndarray, path: Path, ms: int = 60, hold: int = 1500) -> None:
        """Frames (n, B, ...) of B examples each, `ms` milliseconds long and the last `hold`."""
        ...


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
        _played(self._light(frames), path, ms, hold)

    def _light(self, values: np.ndarray) -> np.ndarray:
        """Values in [0, 1], black to white."""
        return (values - self.low) / (self.high - self.low)


def _played(pictures: np.ndarray, path: Path, ms: int, hold: int) -> None:
    """An animation of pictures (n, B, H, W, C) in [0, 1], B side by side."""
    tiles = plots.to_uint8(pictures)
    columns = int(np.ceil(np.sqrt(tiles.shape[1])))
    alone = tiles.shape[1] == 1
    films.animation(tiles[:, 0] if alone else films.mosaic(tiles, columns), path, ms, hold)


@dataclass(frozen=True)
class Clips(Images):
    """Clips (T, H, W, 1 or 3): their frames on a sheet, and with a grid a GIF that plays them."""

    room: ClassVar[Room] = Room(96, 8, 2, 4)

    def grid(
        self,
        examples: np.ndarray,
        path: Path,
        columns: int = 10,
        captions: Sequence[str] | None = None,
    ) -> None:
        light = super()._light(examples)
        row = stacks.sheet(light, light.shape[1])
        fitting = max(1, min(columns, stacks.WIDTH // row.shape[-2]))
        Images().grid(row, path, fitting, captions)
        _played(np.swapaxes(light, 0, 1), path.with_suffix(".gif"), _FRAME, _FRAME)

    def animation(self, frames: np.ndarray, path: Path, ms: int = 60, hold: int = 1500) -> None:
        """The clips play while they change, a frame of theirs a time, and then twice at the end."""
        light, step = super()._light(frames), np.arange(len(frames))
        changing, last = light[step, :, step % light.shape[2]], np.swapaxes(light[-1], 0, 1)
        _played(np.concatenate([changing, last, last]), path, ms, hold)

    def _light(self, values: np.ndarray) -> np.ndarray:
        light = super()._light(values)
        return stacks.sheet(light, int(np.ceil(np.sqrt(light.shape[-4]))))


@dataclass(frozen=True)
class Volumes(Images):
    """Volumes (D, H, W, 1 or 3): the middle slice across each axis, and below it the maximum."""

    room: ClassVar[Room] = Room(200, 8, 4, 6)

    def _light(self, values: np.ndarray) -> np.ndarray:
        return stacks.views(super()._light(values))


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


_FRAME = 120  # milliseconds of a frame of a clip
ARTISTS: dict[str, Callable[[float, float], Artist]] = {
    "image": Images,
    "clip": Clips,
    "volume": Volumes,
    "points": Points,
}


def artist_of(kind: str, low: float, high: float) -> Artist:
    """The artist of data of this kind, whose decoded values lie between low and high."""
    if kind not in ARTISTS:
        raise unknown("kind of data", kind, ARTISTS)
    return ARTISTS[kind](low, high)
