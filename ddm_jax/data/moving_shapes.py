"""Synthetic clips of one shape that moves evenly, and the oracle that reads them back.

Clip i shows one shape of one colour on a black ground, whose centre is p_k = p_0 + k v in frame k.
All of it is drawn from a counter, so a clip is a function of (i, frames, size) alone. The whole way
lies within the frame, so that nothing is cut off and no edge turns the motion.
"""

import functools
from typing import NamedTuple

import numpy as np

from ddm_jax.data import shapes
from ddm_jax.data.counter import uniform

FRAMES, SIDE = 8, 16
DIRECTIONS = {"right": (0.0, 1.0), "down": (1.0, 0.0), "left": (0.0, -1.0), "up": (-1.0, 0.0)}
COLOURS = ("red", "green", "blue", "yellow", "cyan", "white")
CLASSES = tuple(f"{shape} {way}" for shape in shapes.SHAPES for way in DIRECTIONS)
RADIUS = 0.2  # of the side, as is what follows
TRAVEL = (0.3, 0.42)  # between the first frame and the last
MARGIN = 0.26  # of centres to the edges
GROUND = np.array(shapes.COLOURS["black"], np.float32)

_PALETTE = np.array([shapes.COLOURS[name] for name in COLOURS], np.float32)
_WAYS = np.array(list(DIRECTIONS.values()))
_CELLS = 32  # centres a side that the oracle tries, before it looks between them
_STRAY = 0.05  # of the side, that a centre may stray from the line of an even motion
_REST = 0.5  # of the least travel, below which a shape does not move


class Motion(NamedTuple):
    """What clips show: shape and colour (n,) as places in SHAPES and COLOURS, way (n,) as that in
    DIRECTIONS; start (n, 2), the first centre, and velocity (n, 2) a frame, both (down, right) in
    pixels."""

    shape: np.ndarray
    colour: np.ndarray
    way: np.ndarray
    start: np.ndarray
    velocity: np.ndarray


def motion(index: np.ndarray, frames: int = FRAMES, side: int = SIDE) -> Motion:
    """What the clips `index` (n,) show."""

    def one_of(stream: int, count: int) -> np.ndarray:
        return (uniform(0, stream, index) * count).astype(np.int32)

    shape, colour, way = (
        one_of(stream, len(table))
        for stream, table in enumerate((shapes.SHAPES, COLOURS, DIRECTIONS))
    )
    low, high = TRAVEL
    travel = (low + (high - low) * uniform(0, 3, index))[:, None] * _WAYS[way]
    free = 1 - 2 * MARGIN - abs(travel)
    at = np.stack([uniform(0, stream, index) for stream in (4, 5)], -1)
    start = MARGIN + np.maximum(-travel, 0) + free * at
    return Motion(shape, colour, way, start * side, travel * side / (frames - 1))


def labels(of: Motion) -> np.ndarray:
    """Index into CLASSES: shape and direction."""
    return of.shape * len(DIRECTIONS) + of.way


def draw(index: np.ndarray, frames: int = FRAMES, side: int = SIDE) -> np.ndarray:
    """Clips `index` (n,): uint8 (n, frames, side, side, 3)."""
    of = motion(index, frames, side)
    centres = of.start[:, None] + np.arange(frames)[:, None] * of.velocity[:, None]
    cover = _cover(of.shape[:, None], centres, side)[..., None]
    front = _PALETTE[of.colour][:, None, None, None]
    return np.rint(GROUND + cover * (front - GROUND)).astype(np.uint8)


def _cover(shape: np.ndarray, centre: np.ndarray, side: int) -> np.ndarray:
    """How much of each pixel is covered, in [0, 1]: shape (...), centre (..., 2) -> (..., s, s)."""
    pixel = np.arange(side) + 0.5
    dy = pixel[:, None] - centre[..., 0, None, None]
    dx = pixel - centre[..., 1, None, None]
    away = shapes.distance(shape[..., None, None], dx, dy, RADIUS * side)
    return np.clip(0.5 - away, 0, 1)


class Reading(NamedTuple):
    """What the oracle sees of clips (n, T, s, s, 3).

    shape, colour: (n, T). place: (n, T, 2), centres (down, right) in pixels. error: (n, T), the
    root of the mean square, in grey levels, between a frame and the drawing of what was read.
    velocity: (n, 2), in pixels a frame, of the line nearest to the places. stray: (n,), the root of
    the mean square of their distances from it, in parts of the side. travel: (n,), the length of
    the line in the same.
    """

    shape: np.ndarray
    colour: np.ndarray
    place: np.ndarray
    error: np.ndarray
    velocity: np.ndarray
    stray: np.ndarray
    travel: np.ndarray

    @property
    def steady(self) -> dict[str, np.ndarray]:
        """Whether shape, colour and velocity stay the same over the frames, (n,) bool each.

        A velocity does where no centre's distance from an even motion is of note, and where there
        is a motion at all.
        """
        same = {
            name: (values == values[:, :1]).all(1)
            for name, values in (("shape", self.shape), ("colour", self.colour))
        }
        moves = self.travel > _REST * TRAVEL[0]
        return {**same, "velocity": (self.stray < _STRAY) & moves}

    @property
    def label(self) -> np.ndarray:
        """The class (n,) in CLASSES: the shape seen most often, and the nearest direction."""
        seen = (self.shape[..., None] == np.arange(len(shapes.SHAPES))).sum(1).argmax(-1)
        return seen * len(DIRECTIONS) + (self.velocity @ _WAYS.T).argmax(-1)


def oracle(clips: np.ndarray) -> Reading:
    """Reads clips (n, T, s, s, 3) in [0, 255].

    Frame by frame the shape, centre and colour whose drawing is nearest, which is the likeliest
    reading under white noise, and the velocity by least squares over the frames.
    """
    count, frames, side = clips.shape[:3]
    pixels = np.asarray(clips, np.float32).reshape(-1, side * side, 3) - GROUND
    parts = [_frames(part, side) for part in np.array_split(pixels, -(-len(pixels) // 256))]
    found = [np.concatenate(values) for values in zip(*parts, strict=True)]
    shape, colour, place, error = (a.reshape(count, frames, *a.shape[1:]) for a in found)
    time = np.arange(frames) - (frames - 1) / 2
    velocity = (time[:, None] * place).sum(1) / (time**2).sum()
    line = place.mean(1, keepdims=True) + time[:, None] * velocity[:, None]
    stray = np.sqrt(((place - line) ** 2).sum(-1).mean(1)) / side
    travel = np.linalg.norm(velocity, axis=-1) * (frames - 1) / side
    return Reading(shape, colour, place, error, velocity, stray, travel)


@functools.lru_cache(maxsize=2)
def _drawings(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(shapes (K,), centres (K, 2), covers (K, side^2)) that frames are compared with."""
    few = np.arange(round(RADIUS * _CELLS), _CELLS - round(RADIUS * _CELLS) + 1) / _CELLS * side
    grid = np.meshgrid(range(len(shapes.SHAPES)), few, few, indexing="ij")
    shape, y, x = (a.ravel() for a in grid)
    centre = np.stack([y, x], -1)
    cover = _cover(shape.astype(np.int32), centre, side)
    return shape.astype(np.int32), centre, cover.reshape(len(shape), -1).astype(np.float32)


def _frames(pixels: np.ndarray, side: int) -> tuple[np.ndarray, ...]:
    """(shape, colour, place, error) of frames (n, side^2, 3) above the ground.

    |x - m f|^2 = |x|^2 - 2 f . (m x) + |m|^2 |f|^2 over covers m and colours f.
    """
    shape, centre, covers = _drawings(side)
    front = _PALETTE - GROUND
    along = np.einsum("nck,fc->nfk", pixels.swapaxes(1, 2) @ covers.T, front, optimize=True)
    error = np.outer((front**2).sum(-1), (covers**2).sum(-1)) - 2 * along
    colour, best = np.divmod(error.reshape(len(pixels), -1).argmin(1), len(shape))
    mine = error[np.arange(len(pixels)), colour]
    left = (pixels**2).sum((1, 2)) + mine[np.arange(len(pixels)), best]
    rms = np.sqrt(np.maximum(left, 0) / pixels[0].size)
    return shape[best], colour, _between(mine, shape, centre, best), rms


def _between(
    error: np.ndarray, shape: np.ndarray, centre: np.ndarray, best: np.ndarray
) -> np.ndarray:
    """Centres (n, 2) at the lowest point of the parabola through `error` (n, K) about its least."""
    across = round(np.sqrt((shape == 0).sum()))
    step = centre[1, 1] - centre[0, 1]
    of, rest = np.divmod(best, across**2)
    row, column = (np.clip(a, 1, across - 2) for a in np.divmod(rest, across))
    middle, moved = (of * across + row) * across + column, []
    for jump in (across, 1):
        before, here, after = (error[np.arange(len(best)), middle + k] for k in (-jump, 0, jump))
        bend = before + after - 2 * here
        shift = (before - after) / (2 * np.where(bend > 0, bend, np.inf))
        moved.append(np.clip(shift, -1, 1) * step)
    return centre[middle] + np.stack(moved, -1)
