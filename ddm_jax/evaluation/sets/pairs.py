"""Distances between all pairs of rows of two sets, a block of them at a time."""

from collections.abc import Iterator

import numpy as np

PAIRS = 2**22  # held at once, 32 MiB of float64


def blocks(rows: np.ndarray, others: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """(which rows, |x_i - y_j|^2) of some rows x (n, d) and all y (m, d), in float64."""
    others = np.asarray(others, np.float64)
    squares = (others**2).sum(1)
    size = max(PAIRS // len(others), 1)
    for start in range(0, len(rows), size):
        which = slice(start, min(start + size, len(rows)))
        block = np.asarray(rows[which], np.float64)
        found = block @ others.T
        found *= -2
        found += squares
        found += (block**2).sum(1)[:, None]
        yield which, np.maximum(found, 0, out=found)


def squared_radii(rows: np.ndarray, k: int) -> np.ndarray:
    """The squared distance (n,) of each row to its k-th nearest other row, k < n.

    They are wider by the rounding of a distance, so that a row at the edge is always inside.
    """
    found = np.empty(len(rows))
    for which, squared in blocks(rows, rows):
        own = np.arange(which.start, which.stop)
        squared[np.arange(len(own)), own] = np.inf
        found[which] = np.partition(squared, k - 1, axis=1)[:, k - 1]
    rounding = 32 * np.finfo(np.float64).eps * max(rows.shape[1], 16)
    return found + rounding * (found + (np.asarray(rows, np.float64) ** 2).sum(1))
