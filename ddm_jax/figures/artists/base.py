"""What an artist is: who draws examples of one kind of data, in files."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import numpy as np


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
        *,
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
        *,
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
