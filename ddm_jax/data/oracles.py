"""Oracles: which class an example of a synthetic set is of, read from its values alone."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ddm_jax.data import moving_shapes, points, shapes, solids, tones
from ddm_jax.data.dataset import Spec

WITHIN = 5.0  # spreads from a mode or a ring, beyond which a point is of none
NEAR = 0.02  # of its frequency, beyond which a tone is no note


class Oracle(NamedTuple):
    """classes: their names. read: (values (n, ...) as the data store them, the Spec of the data) to
    places (n,) among the classes, -1 for what is of none."""

    classes: tuple[str, ...]
    read: Callable[[np.ndarray, Spec], np.ndarray]


def shape_of(images: np.ndarray, spec: Spec) -> np.ndarray:
    """The colour and shape that are nearest to images (n, s, s, 3) in [0, 255]."""
    attributes, _ = shapes.oracle(images)
    return shapes.labels(attributes)


def mode_of(x: np.ndarray, spec: Spec) -> np.ndarray:
    """The nearest mode of `mixture` to points (n, 2)."""
    angle = 2 * np.pi * np.arange(points.MODES) / points.MODES
    apart = np.linalg.norm(x[:, None] - points.MODE_RADIUS * points.circle(angle), axis=-1)
    return _nearest(apart, points.MODE_SPREAD)


def ring_of(x: np.ndarray, spec: Spec) -> np.ndarray:
    """The nearest of `rings` to points (n, 2)."""
    apart = abs(np.linalg.norm(x, axis=-1)[:, None] - np.array(points.RADII))
    return _nearest(apart, points.RING_SPREAD)


def note_of(waves: np.ndarray, spec: Spec) -> np.ndarray:
    """The note of waves (n, samples, 1) whose pitch is within NEAR of it."""
    pitch = tones.fundamental(waves[..., 0], spec.rate)[:, None]
    apart = abs(np.nan_to_num(pitch) / tones.FREQUENCIES - 1)
    return np.where(apart.min(-1) <= NEAR, apart.argmin(-1), -1)


def motion_of(clips: np.ndarray, spec: Spec) -> np.ndarray:
    """Shape and direction of clips (n, T, s, s, 3) in which shape, colour and velocity stay."""
    reading = moving_shapes.oracle(clips)
    stays = np.all([*reading.steady.values()], axis=0)
    return np.where(stays, reading.label, -1)


def solid_of(volumes: np.ndarray, spec: Spec) -> np.ndarray:
    """The nearest solid to volumes (n, s, s, s, 1) in [0, 255]."""
    return solids.oracle(volumes)[0]


def _nearest(apart: np.ndarray, spread: float) -> np.ndarray:
    """The column with the least of distances (n, k); -1 where it is more than WITHIN spreads."""
    return np.where(apart.min(-1) <= WITHIN * spread, apart.argmin(-1), -1)


ORACLES = {
    "shapes": Oracle(shapes.CLASSES, shape_of),
    "tones": Oracle(tones.CLASSES, note_of),
    "moving_shapes": Oracle(moving_shapes.CLASSES, motion_of),
    "solids": Oracle(solids.CLASSES, solid_of),
    "mixture": Oracle(points.POINT_SETS["mixture"].classes, mode_of),
    "rings": Oracle(points.POINT_SETS["rings"].classes, ring_of),
}
