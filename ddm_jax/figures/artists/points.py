"""Who draws points in the plane."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ddm_jax.figures import clouds, films, plots
from ddm_jax.figures.artists.base import Room


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
        *,
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
        *,
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
