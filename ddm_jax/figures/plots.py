"""Image grids and strips. Each takes arrays and a path, and can be called anywhere.

Images are in [0, 1], but for `grid` and `labelled_grid`, which take bytes.
"""

import functools
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ddm_jax import files
from ddm_jax.errors import RunError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 100  # of figures whose images must keep their pixels
_SIDE = 64  # pixels that small images are enlarged to
_EDGE = 208  # grey of the lines around images
LINES = 8  # of a caption
_LINE = 15  # pixels of its height each
FORWARD = "x_t = alpha x_0 + sigma eps; below t the share of signal in the variance"


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Images in [0, 1] as bytes, rounded to the nearest; RunError for nan, which no byte is."""
    if not np.isfinite(images).all():
        raise RunError("an image holds values that are not finite, and is not drawn")
    return np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)


def enlarged(images: np.ndarray, side: int = _SIDE) -> np.ndarray:
    """(..., H, W, C) with every pixel repeated a whole number of times, to at most `side`."""
    factor = max(1, side // max(images.shape[-3:-1]))
    return images.repeat(factor, axis=-3).repeat(factor, axis=-2)


def canvas(images: np.ndarray, columns: int) -> np.ndarray:
    """uint8 images (n, H, W, C) row by row on one white image (H', W', C)."""
    count, height, width, channels = images.shape
    columns, gap = min(columns, count), max(2, height // 10)
    rows = -(-count // columns)
    size = rows * (height + gap) + gap, columns * (width + gap) + gap, channels
    white = np.full(size, 255, np.uint8)
    for k, image in enumerate(images):
        row, column = divmod(k, columns)
        y, x = gap + row * (height + gap), gap + column * (width + gap)
        white[y : y + height, x : x + width] = image
    return white


def grid(images: np.ndarray, columns: int, path: Path | None = None) -> Image.Image:
    """uint8 images (n, H, W, 1 or 3), row by row; small ones are enlarged by a whole number."""
    whole = canvas(enlarged(images), columns)
    picture = Image.fromarray(whole[..., 0] if whole.shape[-1] == 1 else whole)
    if path is not None:
        _write(path, picture.save)
    return picture


def labelled_grid(
    images: np.ndarray, columns: int, captions: Sequence[str], path: Path | None = None
) -> "Figure":
    """`grid` with a caption above each image, or one a column where all of a column agree.

    captions: (n,), in as many lines as they need up to LINES, and cut beyond. A matplotlib Figure.
    """
    columns = min(columns, len(images))
    shared = all(text == captions[k % columns] for k, text in enumerate(captions))
    tiles = enlarged(images)
    height, width = tiles.shape[1:3]
    texts = [_in_lines(text, max(4, width // 6)) for text in captions]
    gap, line = 4, 4 + _LINE * max(text.count("\n") + 1 for text in texts)
    step = height + gap + (0 if shared else line)
    rows = -(-len(images) // columns)
    top = line if shared else 0  # elsewhere every row has its own
    sheet = _Sheet(top + rows * step, columns * (width + gap) + gap)
    for k, tile in enumerate(tiles):
        row, column = divmod(k, columns)
        x, y = gap + column * (width + gap), line + row * step
        sheet.place(tile, x, y)
        if row == 0 or not shared:
            sheet.write(x + width / 2, y - 2, texts[k], "center", va="bottom")
    return sheet.figure(path)


def _in_lines(text: str, most: int) -> str:
    """`text` in lines of at most `most` characters."""
    lines = textwrap.wrap(text, most) or [""]
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], lines[LINES - 1][: most - 1] + "…"]
    return "\n".join(lines)


def strip(
    rows: np.ndarray,
    names: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    *,
    path: Path | None = None,
) -> "Figure":
    """A table of images (R, K, H, W, C) in [0, 1], with R row names and K column titles.

    A matplotlib Figure, in which small images are enlarged by a whole number.
    """
    tiles = enlarged(to_uint8(rows))
    height, width = tiles.shape[2:4]
    gap = 4
    lines = max(text.count("\n") + 1 for text in columns)
    longest = max(len(part) for text in names for part in text.split("\n"))
    left, top = 14 + 7 * longest, 26 + _LINE * lines
    step = max([width, *(7 * len(part) for text in columns for part in text.split("\n"))]) + gap
    size = top + len(tiles) * (height + gap), max(left + tiles.shape[1] * step, 8 * len(title)) + 8
    sheet = _Sheet(*size)
    sheet.write(8, 6, title, "left", va="top", weight="bold")
    for k, text in enumerate(columns):
        sheet.write(left + k * step + width / 2, top - 4, text, "center", va="bottom")
    for r, (name, row) in enumerate(zip(names, tiles, strict=True)):
        y = top + r * (height + gap)
        sheet.write(left - 8, y + height / 2, name, "right", va="center")
        for k, tile in enumerate(row):
            sheet.place(tile, left + k * step, y)
    return sheet.figure(path)


def forward_strip(
    x_t: np.ndarray,
    times: Sequence[float] | np.ndarray,
    logsnr: Sequence[float],
    path: Path | None = None,
) -> "Figure":
    """Images noised to several times, a row each: x_t (n, B, H, W, C) in [0, 1], times (n,).

    Above each column stand t and the signal's share of the variance, sigmoid(logsnr) for data of
    unit variance. A matplotlib Figure.
    """
    names = [f"image {k}" for k in range(x_t.shape[1])]
    return strip(np.swapaxes(x_t, 0, 1), names, noise_titles(times, logsnr), FORWARD, path=path)


def noise_titles(
    times: Sequence[float] | np.ndarray, logsnr: Sequence[float] | np.ndarray
) -> list[str]:
    """Titles (n,): the time, and below it the share of signal in the variance."""
    shares = 1 / (1 + np.exp(-np.asarray(logsnr, float)))
    return [f"t = {t:.2f}\n{share:.1%}" for t, share in zip(times, shares, strict=True)]


def reverse_strip(
    x_t: np.ndarray,
    x0: np.ndarray,
    times: Sequence[float] | np.ndarray,
    title: str = "from noise to an image",
    *,
    names: Sequence[str] | None = None,
    path: Path | None = None,
) -> "Figure":
    """The way from noise, two rows an image: x_t and the estimate of x_0 at the same times.

    x_t, x0: (n, B, H, W, C) in [0, 1]; times: (n,). The last estimate is the result. A matplotlib
    Figure.
    """
    n, count = x_t.shape[:2]
    names = [f"image {k}" for k in range(count)] if names is None else names
    rows = np.stack([x_t, x0], 2).transpose(1, 2, 0, 3, 4, 5).reshape(2 * count, n, *x_t.shape[2:])
    columns = [f"t = {t:.2f}" for t in times]
    return strip(
        rows, [f"{a}, {b}" for a in names for b in ("x_t", "x0_hat")], columns, title, path=path
    )


class _Sheet:
    """White paper of so many pixels, with images that keep theirs, and text."""

    def __init__(self, height: int, width: int):
        self.paper, self.texts = np.full((height, width, 3), 255, np.uint8), []

    def place(self, tile: np.ndarray, x: int, y: int) -> None:
        """A uint8 image (h, w, 1 or 3) with its upper left corner at (x, y), within a grey line
        that shows where a white one ends."""
        height, width = tile.shape[:2]
        self.paper[y - 1 : y + height + 1, x - 1 : x + width + 1] = _EDGE
        self.paper[y : y + height, x : x + width] = tile

    def write(self, x: float, y: float, text: str, ha: str, *, va: str, **style: Any) -> None:
        self.texts.append(((x, y, text), {"ha": ha, "va": va, **style}))

    def figure(self, path: Path | None) -> "Figure":
        from matplotlib.figure import Figure

        height, width = self.paper.shape[:2]
        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
        figure.figimage(self.paper, origin="upper")
        for (x, y, text), style in self.texts:
            figure.text(x / width, 1 - y / height, text, fontsize=8, parse_math=False, **style)
        return saved(figure, path, _DPI)


def saved(figure: "Figure", path: Path | None, dpi: int = 120) -> "Figure":
    if path is not None:
        _write(path, functools.partial(figure.savefig, dpi=dpi))
    return figure


def _write(path: Path, save: Callable[..., Any]) -> None:
    """A picture in the format that the path ends in."""
    files.replace(path, functools.partial(save, format=path.suffix[1:]))
