"""Pictures: image grids and curves. Each takes arrays and a path, and can be called anywhere."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Images in [0, 1] as bytes, rounded to the nearest."""
    return np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)


def grid(images: np.ndarray, columns: int, path: Path | None = None) -> Image.Image:
    """uint8 images (n, H, W, 1 or 3), row by row; small ones are enlarged by a whole number."""
    factor = max(1, 64 // max(images.shape[1:3]))
    images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    count, height, width, channels = images.shape
    columns, gap = min(columns, count), max(2, height // 10)
    rows = -(-count // columns)
    size = rows * (height + gap) + gap, columns * (width + gap) + gap, channels
    canvas = np.full(size, 255, np.uint8)
    for k, image in enumerate(images):
        row, column = divmod(k, columns)
        y, x = gap + row * (height + gap), gap + column * (width + gap)
        canvas[y : y + height, x : x + width] = image
    picture = Image.fromarray(canvas[..., 0] if channels == 1 else canvas)
    if path is not None:  # whole or not at all: what is there counts as done
        part = path.with_suffix(".part")
        picture.save(part, format="PNG")
        part.replace(path)
    return picture


def loss_curve(rows: list[dict[str, Any]], path: Path | None = None):
    """Loss against step, from the rows of metrics.jsonl; a matplotlib Figure."""
    figure, axes = _figure("training loss", "step", "mean squared error")
    axes.plot([r["step"] for r in rows], [r["loss"] for r in rows], linewidth=1)
    axes.set_yscale("log")
    return _saved(figure, path)


def loss_by_level(rows: list[dict[str, Any]], path: Path | None = None):
    """Loss against noise level, the mean of the last quarter of the rows; a matplotlib Figure."""
    figure, axes = _figure(
        "loss per noise level", "t (0: least noise, 1: most)", "mean squared error"
    )
    last = [r["loss_by_level"] for r in rows[-max(1, len(rows) // 4) :]]
    table = np.array(last, float)  # None becomes nan
    seen = ~np.isnan(table)
    mean = np.where(seen, table, 0).sum(0) / np.maximum(seen.sum(0), 1)
    bins = len(mean)
    some = seen.any(0)
    axes.bar(((np.arange(bins) + 0.5) / bins)[some], mean[some], width=0.9 / bins)
    return _saved(figure, path)


def _figure(title: str, x: str, y: str):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel=x, ylabel=y)
    axes.grid(which="both", alpha=0.3)
    return figure, axes


def _saved(figure, path: Path | None):
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure
