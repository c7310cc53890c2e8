"""Clips and volumes as pictures: frames on a sheet, slices and projections."""

import numpy as np

WIDTH = 600  # pixels of the clips that lie side by side, before they are enlarged
_WHITE = 1.0


def sheet(frames: np.ndarray, columns: int) -> np.ndarray:
    """Frames (..., T, H, W, C) in [0, 1], row by row with a white line between them.

    (..., R (H + 1) - 1, columns (W + 1) - 1, C), R the rows that it takes.
    """
    *lead, count, height, width, channels = frames.shape
    rows = -(-count // columns)
    paper = np.full((*lead, rows, height + 1, columns, width + 1, channels), _WHITE, frames.dtype)
    for k in range(count):
        row, column = divmod(k, columns)
        paper[..., row, :height, column, :width, :] = frames[..., k, :, :, :]
    size = rows * (height + 1), columns * (width + 1), channels
    return paper.reshape(*lead, *size)[..., :-1, :-1, :]


def views(volumes: np.ndarray) -> np.ndarray:
    """Volumes (..., D, H, W, C) seen along each of their axes: (..., H', W', C).

    Above the slices through the middle, below the maxima.
    """
    axes = (-4, -3, -2)
    slices = [volumes.take(volumes.shape[axis] // 2, axis) for axis in axes]
    seen = [*slices, *(volumes.max(axis) for axis in axes)]
    side = max(volumes.shape[-4:-1])
    squares = np.full(
        (*volumes.shape[:-4], 6, side, side, volumes.shape[-1]), _WHITE, volumes.dtype
    )
    for k, picture in enumerate(seen):
        squares[..., k, : picture.shape[-3], : picture.shape[-2], :] = picture
    return sheet(squares, 3)
