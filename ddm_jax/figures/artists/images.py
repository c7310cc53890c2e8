"""Who draws what is made of pictures: images, clips and volumes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ddm_jax.figures import films, plots, stacks
from ddm_jax.figures.artists.base import Room

_FRAME = 120  # milliseconds of a frame of a clip


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
        *,
        title: str = "",
    ) -> None:
        plots.strip(self._light(rows), names, columns, title, path=path)

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
        *,
        title: str,
        names: Sequence[str],
    ) -> None:
        x_t, x0 = self._light(x_t), self._light(x0)
        plots.reverse_strip(x_t, x0, times, title, names=names, path=path)

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
