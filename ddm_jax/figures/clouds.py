"""Points in the plane: clouds, densities and ways. Each takes arrays and a path.

Points are (..., 2), drawn in the square [low, high]^2 that `ends` gives; those beyond it are drawn
on its edge.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ddm_jax.errors import RunError
from ddm_jax.figures.plots import saved

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Ends = tuple[float, float]

_CELLS = 64  # along each side of a density
_NAMED = 12  # classes that have a colour each, or rows that have a name
_SIDE = 320  # pixels of a frame
_WHITE, _INK = 255, (31, 119, 180)


def placed(points: np.ndarray, ends: Ends) -> np.ndarray:
    """Points on the square, float64; RunError for nan, which has no place there."""
    points = np.asarray(points, np.float64)
    if not np.isfinite(points).all():
        raise RunError("a point holds values that are not finite, and is not drawn")
    return np.clip(points, *ends)


def density(points: np.ndarray, ends: Ends, cells: int = _CELLS) -> np.ndarray:
    """The share of points (n, 2) in each cell, divided by its area: (cells, cells), rows upwards.

    Its integral over the square is 1.
    """
    x, y = placed(points, ends).T
    found, _, _ = np.histogram2d(y, x, cells, (ends, ends))
    return found / len(x) / ((ends[1] - ends[0]) / cells) ** 2


def cloud(
    points: np.ndarray, ends: Ends, captions: Sequence[str] | None = None, path: Path | None = None
) -> "Figure":
    """Points (n, 2), coloured by their captions where few differ, beside their density.

    A matplotlib Figure.
    """
    figure, (left, right) = _figure(1, 2, side=4.0)
    points = placed(points, ends)
    told = list(dict.fromkeys(captions or ()))
    size = min(30.0, max(2.0, 3000 / len(points)))
    if 0 < len(told) <= _NAMED:
        for name in told:
            chosen = points[[text == name for text in captions or ()]]
            left.scatter(*chosen.T, s=size, linewidths=0, label=name)
        left.legend(fontsize=7, loc="upper right", markerscale=np.sqrt(20 / size))
    else:
        left.scatter(*points.T, s=size, linewidths=0)
    _square(left, ends, f"{len(points):,} points")
    extent = (*ends, *ends)
    right.imshow(density(points, ends), origin="lower", extent=extent, cmap="Blues")
    _square(right, ends, "density")
    return saved(figure, path)


def panels(
    points: np.ndarray,
    ends: Ends,
    columns: Sequence[str],
    title: str = "",
    *,
    to: np.ndarray | None = None,
    path: Path | None = None,
) -> "Figure":
    """Points (n, B, 2), a panel for each n under its title in `columns`.

    to: (n, B, 2), where a line from each point ends. A matplotlib Figure.
    """
    figure, axes = _figure(1, len(points), side=2.2)
    for k, (panel, name) in enumerate(zip(axes, columns, strict=True)):
        here = placed(points[k], ends)
        if to is not None:
            pairs = np.stack([here, placed(to[k], ends)], 0)
            panel.plot(pairs[..., 0], pairs[..., 1], color="0.75", linewidth=0.5, zorder=1)
        size = min(12.0, max(1.0, 2000 / len(here)))
        panel.scatter(*here.T, s=size, linewidths=0, zorder=2)
        _square(panel, ends, name)
    figure.suptitle(title, fontsize=9, parse_math=False)
    return saved(figure, path)


def ways(
    rows: np.ndarray,
    ends: Ends,
    names: Sequence[str],
    columns: Sequence[str],
    *,
    title: str = "",
    path: Path | None = None,
) -> "Figure":
    """The way (K, 2) of each of R points: rows (R, K, 2), with names of rows and titles of places.

    Places have a colour each, and lines join those of a row. A matplotlib Figure.
    """
    figure, (axes,) = _figure(1, 1, side=5.0)
    rows = placed(rows, ends)
    from matplotlib import colormaps

    axes.plot(*np.moveaxis(rows, (2, 1), (0, 1)), color="0.75", linewidth=0.8, zorder=1)
    for k, column in enumerate(columns):
        colour = colormaps["viridis"](k / max(1, len(columns) - 1))
        axes.scatter(*rows[:, k].T, s=25, color=colour, linewidths=0, label=column, zorder=2)
    for name, (x, y) in zip(names, rows[:, 0], strict=True):
        if name and len(names) <= _NAMED:
            axes.annotate(name, (x, y), fontsize=7, parse_math=False)
    axes.legend(fontsize=7, loc="upper right")
    _square(axes, ends, title)
    return saved(figure, path)


def frames(points: np.ndarray, ends: Ends) -> np.ndarray:
    """Points (n, B, 2) as n pictures of dots, uint8 (n, _SIDE, _SIDE, 3)."""
    low, high = ends
    dot = range(-1, 2)
    pixel = np.rint((placed(points, ends) - low) / (high - low) * (_SIDE - 3)).astype(int) + 1
    drawn = np.full((len(points), _SIDE, _SIDE, 3), _WHITE, np.uint8)
    for picture, (x, y) in zip(drawn, np.moveaxis(pixel, -1, 1), strict=True):
        for right in dot:
            for down in dot:
                picture[_SIDE - 1 - y + down, x + right] = _INK
    return drawn


def _figure(rows: int, columns: int, side: float) -> tuple["Figure", np.ndarray]:
    """A Figure of square panels, `side` inches each, and its panels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * side, rows * (side + 0.4)), layout="constrained")
    return figure, np.ravel(figure.subplots(rows, columns, squeeze=False))


def _square(axes: "Axes", ends: Ends, title: str) -> None:
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.tick_params(labelsize=6)
    axes.set_title(title, fontsize=8, parse_math=False, wrap=True)
