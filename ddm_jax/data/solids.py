"""Synthetic volumes of one solid each, and the oracle that tells them apart.

Volume i is drawn from a counter, so it is a function of (i, side) alone. Place and radius vary a
little, and surfaces are anti-aliased, so that there is a continuum to learn.
"""

import itertools

import numpy as np

from ddm_jax.data.counter import uniform

SIDE = 12
CLASSES = ("ball", "cube", "cone", "torus")
RADIUS = 0.3  # of the side
JITTER = 0.05  # of the side, for place; of the radius, for the radius
_STEPS = (-1.0, 0.0, 1.0)  # of the jitter, that the oracle tries


def labels(index: np.ndarray) -> np.ndarray:
    """Which of CLASSES the volumes `index` (n,) are."""
    return (uniform(0, 0, index) * len(CLASSES)).astype(np.int32)


def draw(index: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Volumes `index` (n,), of axes depth, height, width: uint8 (n, side, side, side, 1)."""
    jitter = np.stack([2 * uniform(0, stream, index) - 1 for stream in (1, 2, 3, 4)])
    return np.rint(255 * _cover(labels(index), jitter, side)).astype(np.uint8)[..., None]


def distance(
    solid: np.ndarray, dz: np.ndarray, dy: np.ndarray, dx: np.ndarray, *, r: np.ndarray
) -> np.ndarray:
    """How far (dz, dy, dx) from its centre a point lies outside a solid of radius r, in cells.

    Negative inside; solid: places in CLASSES. A cone stands on its base, a torus lies flat, with y
    downwards. The arguments broadcast.
    """
    out = np.hypot(dz, dx)
    side = (out - (dy + r) / 1.8) / np.hypot(1, 1 / 1.8)  # from the tip, r above the centre
    return np.choose(
        solid,
        [
            np.hypot(out, dy) - r,
            np.maximum(np.maximum(abs(dz), abs(dy)), abs(dx)) - 0.8 * r,
            np.maximum(dy - 0.8 * r, side),
            np.hypot(out - 0.65 * r, dy) - 0.35 * r,
        ],
    )


def _cover(solid: np.ndarray, jitter: np.ndarray, side: int) -> np.ndarray:
    """How much of each cell is filled, in [0, 1]: solid (n,), jitter (4, n) -> (n, s, s, s)."""
    shape = (-1, 1, 1, 1)
    cell = np.arange(side) + 0.5
    centre = ((0.5 + JITTER * jitter[:3]) * side).reshape(3, *shape)
    dz, dy, dx = (
        cell.reshape([side if k == axis else 1 for k in range(3)]) - centre[axis]
        for axis in range(3)
    )
    r = (RADIUS * (1 + JITTER * jitter[3]) * side).reshape(shape)
    return np.clip(0.5 - distance(solid.reshape(shape), dz, dy, dx, r=r), 0, 1)


def oracle(volumes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reads volumes (n, s, s, s, 1) in [0, 255]: (class (n,), error (n,)).

    The class of the nearest of many drawings; the error is the root of the mean square of the
    difference from it, in grey levels.
    """
    side = volumes.shape[1]
    tried = np.array(list(itertools.product(range(len(CLASSES)), *[_STEPS] * 4))).T
    drawn = _cover(tried[0].astype(np.int32), tried[1:], side).reshape(tried.shape[1], -1)
    seen = np.asarray(volumes, np.float32).reshape(len(volumes), -1) / 255
    drawn = drawn.astype(np.float32)
    apart = (seen**2).sum(1)[:, None] + (drawn**2).sum(1) - 2 * seen @ drawn.T
    best = apart.argmin(1)
    error = np.sqrt(np.maximum(apart.min(1), 0) / seen.shape[1])
    return tried[0, best].astype(np.int32), 255 * error
