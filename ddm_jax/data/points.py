"""Synthetic points in the plane, whose densities and moments are known in closed form.

Point i of a set is drawn from a counter, so it is a function of (name of the set, i) alone. The
normal spread around a set's curve or mode ends at 8.6 standard deviations, so every point lies
within REACH of the origin along both axes.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ddm_jax.data.counter import uniform

REACH = 2.5
MOON_SPREAD = 0.05
RADII, RING_SPREAD = (0.5, 1.1, 1.7), 0.04
MODES, MODE_RADIUS, MODE_SPREAD = 8, 1.6, 0.1
TURNS, ROLL_RADIUS, ROLL_SPREAD = (1.5 * np.pi, 4.5 * np.pi), 2.0, 0.04


class Drawn(NamedTuple):
    """Points (n, 2) and the classes (n,) that they are of, where the set has any."""

    points: np.ndarray
    labels: np.ndarray | None = None


def normal(index: np.ndarray) -> np.ndarray:
    """Standard normal pairs (n, 2): sqrt(-2 ln(1 - u)) (cos, sin)(2 pi v).

    Box & Muller 1958, doi:10.1214/aoms/1177706645.
    """
    u, v = (uniform(0, stream, index) for stream in (0, 1))
    return np.sqrt(-2 * np.log1p(-u))[:, None] * circle(2 * np.pi * v)


def circle(angle: np.ndarray) -> np.ndarray:
    """(cos, sin) of angles (n,): (n, 2)."""
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def one_of(count: int, index: np.ndarray) -> np.ndarray:
    """A class (n,) from 0 to count - 1, all equally likely."""
    return (uniform(0, 2, index) * count).astype(np.int32)


def moons(index: np.ndarray) -> Drawn:
    """Two half circles of radius 1 that reach into each other, with normal spread.

    (cos a, sin a) and (1 - cos a, 1/2 - sin a), a even in [0, pi], moved by -(1/2, 1/4) to mean 0.
    """
    label = one_of(2, index)
    upper = circle(np.pi * uniform(0, 3, index)) - [0.5, 0.25]
    points = np.where(label[:, None] == 0, upper, -upper)
    return Drawn(points + MOON_SPREAD * normal(index), label)


def rings(index: np.ndarray) -> Drawn:
    """Circles of RADII around the origin, equally likely, with normal spread."""
    label = one_of(len(RADII), index)
    points = np.take(RADII, label)[:, None] * circle(2 * np.pi * uniform(0, 3, index))
    return Drawn(points + RING_SPREAD * normal(index), label)


def checkerboard(index: np.ndarray) -> Drawn:
    """Even over the squares (i, j) of [-2, 2]^2, four a side, of which i + j is even."""
    row, half = np.divmod(one_of(8, index), 2)
    column = 2 * half + row % 2
    within = np.stack([uniform(0, stream, index) for stream in (3, 4)], -1)
    return Drawn(np.stack([column, row], -1) - 2 + within)


def swiss_roll(index: np.ndarray) -> Drawn:
    """A spiral a (cos a, sin a), a even over TURNS, whose end is ROLL_RADIUS away; with spread."""
    low, high = TURNS
    angle = low + (high - low) * uniform(0, 3, index)
    points = (ROLL_RADIUS / high * angle)[:, None] * circle(angle)
    return Drawn(points + ROLL_SPREAD * normal(index))


def mixture(index: np.ndarray) -> Drawn:
    """MODES equal normal distributions, evenly spaced on a circle of MODE_RADIUS."""
    label = one_of(MODES, index)
    points = MODE_RADIUS * circle(2 * np.pi * label / MODES)
    return Drawn(points + MODE_SPREAD * normal(index), label)


class PointSet(NamedTuple):
    """How points of a set are drawn by their indices (n,), and the names of their classes."""

    draw: Callable[[np.ndarray], Drawn]
    classes: tuple[str, ...] = ()


POINT_SETS = {
    "moons": PointSet(moons, ("upper", "lower")),
    "rings": PointSet(rings, ("inner", "middle", "outer")),
    "checkerboard": PointSet(checkerboard),
    "swiss_roll": PointSet(swiss_roll),
    "mixture": PointSet(mixture, tuple(f"mode {k}" for k in range(MODES))),
}
