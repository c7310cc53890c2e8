"""Synthetic captioned images, and the oracle that reads their attributes back.

Image i shows one shape of one colour, size and position on a background of another colour, all
drawn from a counter, so it is a function of (i, size of the image) alone. Edges are anti-aliased;
place and radius vary a little within their class, so that there is a continuum to learn.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from ddm_jax.data.counter import uniform

SHAPES = ("circle", "square", "triangle")
SIZES = ("small", "large")
POSITIONS = (
    "top left",
    "top",
    "top right",
    "left",
    "centre",
    "right",
    "bottom left",
    "bottom",
    "bottom right",
)
COLOURS = {
    "red": (220, 30, 40),
    "green": (30, 160, 60),
    "blue": (40, 70, 210),
    "yellow": (240, 210, 40),
    "purple": (140, 40, 160),
    "cyan": (50, 200, 220),
    "white": (245, 245, 245),
    "black": (15, 15, 15),
}
NAMES = {
    "shape": SHAPES,
    "colour": tuple(COLOURS),
    "size": SIZES,
    "position": POSITIONS,
    "background": tuple(COLOURS),
}
CLASSES = tuple(f"{colour} {shape}" for shape in SHAPES for colour in COLOURS)

_RADIUS = (0.13, 0.21)  # of the image's side, for each of SIZES
_CENTRE = (0.27, 0.5, 0.73)
_JITTER = 0.03  # of the side, for place; a tenth of the radius, for the radius
_PALETTE = np.array(list(COLOURS.values()), np.float32)


def attributes(index: np.ndarray) -> dict[str, np.ndarray]:
    """The attributes of images `index` (n,), each an int array (n,) into NAMES."""

    def draw(stream: int, count: int) -> np.ndarray:
        return (uniform(0, stream, index) * count).astype(np.int32)

    colour = draw(1, len(COLOURS))
    other = draw(4, len(COLOURS) - 1)  # any colour but the shape's own
    return {
        "shape": draw(0, len(SHAPES)),
        "colour": colour,
        "size": draw(2, len(SIZES)),
        "position": draw(3, len(POSITIONS)),
        "background": other + (other >= colour),
    }


def labels(attrs: dict[str, np.ndarray]) -> np.ndarray:
    """Index into CLASSES: colour and shape."""
    return attrs["shape"] * len(COLOURS) + attrs["colour"]


def captions(attrs: dict[str, np.ndarray]) -> tuple[str, ...]:
    """`a small red circle at the top left on a blue background`; the centre goes without saying."""
    lines = []
    for shape, colour, size, position, background in zip(*(attrs[k] for k in NAMES), strict=True):
        where = "" if POSITIONS[position] == "centre" else f" at the {POSITIONS[position]}"
        lines.append(
            f"a {SIZES[size]} {NAMES['colour'][colour]} {SHAPES[shape]}{where} "
            f"on a {NAMES['background'][background]} background"
        )
    return tuple(lines)


def draw(index: np.ndarray, size: int) -> np.ndarray:
    """Images `index` (n,) at size x size pixels: uint8 (n, size, size, 3)."""
    jitter = [2 * uniform(0, stream, index) - 1 for stream in (5, 6, 7)]
    return _render(attributes(index), jitter, size)


def distance(
    shape: np.ndarray, dx: np.ndarray, dy: np.ndarray, r: np.ndarray | float
) -> np.ndarray:
    """How far (dx, dy) from its centre a point lies outside a shape of radius r, all in pixels.

    Negative inside; shape: places in SHAPES. The arguments broadcast.
    """
    return np.choose(
        shape,
        [
            np.hypot(dx, dy) - r,
            np.maximum(abs(dx), abs(dy)) - 0.85 * r,
            np.maximum(dy - 0.7 * r, (np.sqrt(3) * abs(dx) - dy) / 2 - 0.6 * r),
        ],
    )


def _cover(
    shape: np.ndarray,
    size: np.ndarray,
    position: np.ndarray,
    jitter: Sequence[np.ndarray],
    *,
    side: int,
) -> np.ndarray:
    """How much of each pixel the shape covers, in [0, 1]: (n, side, side)."""
    row, column = np.divmod(position, 3)
    y = (np.take(_CENTRE, row) + _JITTER * jitter[0]) * side
    x = (np.take(_CENTRE, column) + _JITTER * jitter[1]) * side
    r = (np.take(_RADIUS, size) * (1 + 0.1 * jitter[2]) * side)[:, None, None]
    pixel = np.arange(side) + 0.5
    dy = pixel[None, :, None] - y[:, None, None]
    dx = pixel[None, None, :] - x[:, None, None]
    return np.clip(0.5 - distance(shape[:, None, None], dx, dy, r), 0, 1)


def _render(attrs: dict[str, np.ndarray], jitter: Sequence[np.ndarray], side: int) -> np.ndarray:
    cover = _cover(attrs["shape"], attrs["size"], attrs["position"], jitter, side=side)[..., None]
    front, back = (_PALETTE[attrs[k]][:, None, None] for k in ("colour", "background"))
    return np.rint(back + cover * (front - back)).astype(np.uint8)


def oracle(images: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Reads the attributes of images (n, s, s, 3) in [0, 255]: (attributes, rms error (n,)).

    Analysis by synthesis, the maximum-likelihood reading under white noise: the geometry whose
    coverage is nearest to the image's, given its two colours, in turns with the two colours whose
    drawing is nearest, given the geometry. The rms error, in grey levels, is that of the drawing.
    """
    images = np.asarray(images, np.float32)
    count, side = images.shape[:2]
    steps = (-1.0, -0.5, 0.0, 0.5, 1.0)
    ranges = [range(len(SHAPES)), range(len(SIZES)), range(len(POSITIONS)), steps, steps, steps]
    grid = np.array(list(itertools.product(*ranges))).T
    shape, size, position = grid[:3].astype(np.int32)
    covers = _cover(shape, size, position, tuple(grid[3:]), side=side).reshape(len(shape), -1)
    covers = covers.astype(np.float32)

    pixels = images.reshape(count, -1, 3)
    edge = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    back = np.median(edge, axis=1)
    unlike = np.linalg.norm(pixels - back[:, None], axis=-1)
    front = pixels[np.arange(count), unlike.argmax(1)]
    _, chosen = _fit(pixels, covers, front, back)
    best, chosen = _fit(pixels, covers, _PALETTE[chosen[:, 0]], _PALETTE[chosen[:, 1]])
    front, back = _PALETTE[chosen[:, 0]], _PALETTE[chosen[:, 1]]

    drawn = back[:, None] + covers[best][..., None] * (front - back)[:, None]
    rms = np.sqrt(((pixels - drawn) ** 2).mean((1, 2)))
    read = (shape[best], chosen[:, 0], size[best], position[best], chosen[:, 1])
    return dict(zip(NAMES, read, strict=True)), rms


def _fit(
    pixels: np.ndarray, covers: np.ndarray, front: np.ndarray, back: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of `covers` (B,) under given colours (B, 3), and then the nearest colours (B, 2).

    pixels: (B, n, 3). Colours come back as two places in the palette, the shape's and the ground's.
    """
    ray = front - back
    length = np.maximum((ray**2).sum(-1), 1e-6)
    cover = ((pixels - back[:, None]) * ray[:, None]).sum(-1) / length[:, None]
    best = ((covers**2).sum(1) - 2 * cover @ covers.T).argmin(1)
    m = covers[best][..., None]
    # Squared error of every colour pair, from sums over pixels.
    within, beyond = (m * pixels).sum(1), ((1 - m) * pixels).sum(1)
    mm, mb, bb = (m * m).sum(1), (m * (1 - m)).sum(1), ((1 - m) ** 2).sum(1)
    pairs = np.array([p for p in itertools.permutations(range(len(COLOURS)), 2)])
    f, b = _PALETTE[pairs[:, 0]], _PALETTE[pairs[:, 1]]
    error = (
        mm * (f * f).sum(-1)
        + 2 * mb * (f * b).sum(-1)
        + bb * (b * b).sum(-1)
        - 2 * (within @ f.T + beyond @ b.T)
    )
    return best, pairs[error.argmin(1)]
