"""Oracles: which class an example of a synthetic set is of, read from its values alone."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ddm_jax.data import points, shapes

WITHIN = 5.0  # spreads from a mode or a ring, beyond which a point is of none


class Oracle(NamedTuple):
    """classes: their names. read: values (n, ...), as the data store them, to places (n,) among the
    classes, -1 for what is of none."""

    classes: tuple[str, ...]
    read: Callable[[np.ndarray], np.ndarray]


def shape_of(images: np.ndarray) -> np.ndarray:
    """The colour and shape that are nearest to images (n, s, s, 3) in [0, 255]."""
    attributes, _ = shapes.oracle(images)
    return shapes.labels(attributes)


def mode_of(x: np.ndarray) -> np.ndarray:
    """The nearest mode of `mixture` to points (n, 2)."""
    angle = 2 * np.pi * np.arange(points.MODES) / points.MODES
    apart = np.linalg.norm(x[:, None] - points.MODE_RADIUS * points.circle(angle), axis=-1)
    return _nearest(apart, points.MODE_SPREAD)


def ring_of(x: np.ndarray) -> np.ndarray:
    """The nearest of `rings` to points (n, 2)."""
    apart = abs(np.linalg.norm(x, axis=-1)[:, None] - np.array(points.RADII))
    return _nearest(apart, points.RING_SPREAD)


def _nearest(apart: np.ndarray, spread: float) -> np.ndarray:
    """The column with the least of distances (n, k); -1 where it is more than WITHIN spreads."""
    return np.where(apart.min(-1) <= WITHIN * spread, apart.argmin(-1), -1)


ORACLES = {
    "shapes": Oracle(shapes.CLASSES, shape_of),
    "mixture": Oracle(points.POINT_SETS["mixture"].classes, mode_of),
    "rings": Oracle(points.POINT_SETS["rings"].classes, ring_of),
}
