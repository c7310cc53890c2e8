"""The geometric augmentation of EDM: pictures moved, turned and stretched, with a label that tells.

Karras et al. 2022, arXiv:2206.00364, appendix F.2, after Karras et al. 2020, arXiv:2006.06676.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.data.counter import uniform
from ddm_jax.data.dataset import Spec

# Numbers in the label, in the order of the label.
KINDS = {"mirror": 1, "flip": 1, "move": 2, "scale": 1, "rotate": 2, "stretch": 2, "shift": 2}
_SIZE = sum(KINDS.values())
_FIRST_STREAM = 16


@dataclass(frozen=True)
class Geometric:
    """Pictures changed as their labels (B, 11) say, which are 0 for a picture as it is.

    The network is told the label, so that samples, which have the label 0, are no changed pictures.
    One of two is mirrored, and the other kinds act on a share `share` each, drawn by itself.

    mirror, flip: exchanges left and right, or top and bottom, where the label is 1: one of two.
    move: by round(move u size) whole pixels, with the label u uniform in [-1, 1] along each axis.
    scale: 2^(scale z) times as large, with the label z normal.
    rotate: by any angle a, counterclockwise, with the label (cos a - 1, sin a).
    stretch: 2^(stretch z) times longer along an axis at the angle a and as much shorter across it;
    the label z (cos 2a, sin 2a) differs for all stretches that do.
    shift: by shift z size, with the label z normal along each axis.

    They act in this order. `kinds` are those in use: the defaults are published for CIFAR-10.
    Between pixels the picture is cubic (Keys 1981, doi:10.1109/TASSP.1981.1163711), and beyond its
    edges reflected.
    """

    share: float = 0.12
    kinds: tuple[str, ...] = ("mirror", "flip", "scale", "rotate", "stretch", "shift")
    move: float = 0.125
    scale: float = 0.2
    stretch: float = 0.2
    shift: float = 0.125

    columns: ClassVar[tuple[str, ...]] = ("geometry",)
    label_size: ClassVar[int] = _SIZE

    def __post_init__(self):
        if not 0 < self.share <= 1:
            raise ValueError(f"share={self.share} must lie in (0, 1]")
        unheard = [kind for kind in self.kinds if kind not in KINDS]
        if unheard or not self.kinds:
            raise ValueError(f"kinds={self.kinds} must be some of {', '.join(KINDS)}")

    def spoils(self, spec: Spec) -> str | None:
        return None if len(spec.shape) == 3 else f"{spec.name} are no pictures to turn and stretch"

    def draw(self, seed: int, position: np.ndarray) -> dict[str, np.ndarray]:
        def u(number: int) -> np.ndarray:
            return uniform(seed, _FIRST_STREAM + number, position)

        def normals(number: int) -> tuple[np.ndarray, np.ndarray]:
            """Two independent ones, by Box and Muller."""
            radius, angle = np.sqrt(-2 * np.log1p(-u(number))), 2 * np.pi * u(number + 1)
            return radius * np.cos(angle), radius * np.sin(angle)

        turn, axis, (z, _) = 2 * np.pi * u(6), 2 * np.pi * u(7), normals(8)
        drawn = {
            "mirror": (u(0) < 0.5,),
            "flip": (u(1) < 0.5,),
            "move": (2 * u(2) - 1, 2 * u(3) - 1),
            "scale": normals(4)[:1],
            "rotate": (np.cos(turn) - 1, np.sin(turn)),
            "stretch": (z * np.cos(axis), z * np.sin(axis)),
            "shift": normals(10),
        }
        label = []
        for number, (kind, values) in enumerate(drawn.items()):
            share = (1.0 if kind == "mirror" else self.share) * (kind in self.kinds)
            acts = u(12 + number) < share
            label += [np.where(acts, value, 0) for value in values]
        return {"geometry": np.stack(label, 1).astype(np.float32)}

    def labels(self, drawn: Mapping[str, Any]) -> Array:
        return jnp.asarray(drawn["geometry"])

    def apply(self, x: Array, drawn: Mapping[str, Any]) -> Array:
        *frames, height, width, channels = (1, *x.shape[1:])[-4:]
        pictures = x.reshape(len(x), *frames, height, width, channels).astype(jnp.float32)

        def changed(pictures: Array, label: Array) -> Array:
            return resampled(pictures, self.origins(label, height, width))

        return jax.vmap(changed)(pictures, self.labels(drawn)).reshape(x.shape)

    def origins(self, label: Array, height: int, width: int) -> Array:
        """Where in the picture the pixels of the changed one come from, (height, width, 2).

        The inverse of the changes of a label (11,), from the last to the first; points are (row,
        column).
        """
        parts = jnp.split(label, np.cumsum([*KINDS.values()])[:-1])
        mirror, flip, move, scale, rotate, stretch, shift = parts
        size = jnp.array([height, width], jnp.float32)
        middle = (size - 1) / 2
        rows, columns = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
        points = jnp.stack([rows, columns], -1) - middle
        points = points - self.shift * shift * size
        cos, sin = 1 + rotate[0], rotate[1]
        back = jnp.array([[cos, sin], [-sin, cos]])
        back = back @ stretched(-self.stretch * math.log(2) * stretch)
        points = (points @ back.T) * 2 ** (-self.scale * scale)
        points = points - jnp.round(self.move * move * size)
        points = points * (1 - 2 * jnp.concatenate([flip, mirror]))
        return points + middle


def stretched(way: Array) -> Array:
    """exp [[-a, -b], [-b, a]] for way = (a, b): e^r times longer along its axis, e^-r across it.

    cosh(r) I + sinh(r) / r [[-a, -b], [-b, a]], r = |way|; on points (row, column).
    """
    a, b = way
    r = jnp.hypot(a, b)
    slope = jnp.where(r > 1e-4, jnp.sinh(r) / jnp.where(r > 1e-4, r, 1.0), 1.0)
    return jnp.cosh(r) * jnp.eye(2) + slope * jnp.array([[-a, -b], [-b, a]])


def resampled(pictures: Array, points: Array) -> Array:
    """Pictures (..., H, W, C) at points (h, w, 2), by cubic convolution of 4 x 4 pixels.

    Beyond the edges lies the picture reflected, and pixels themselves are exact.
    """
    first = jnp.floor(points)
    taps = first[..., None] + jnp.arange(-1, 3)  # (h, w, 2, 4)
    weights = keys_kernel(points[..., None] - taps)
    rows = reflected(taps[:, :, 0].astype(jnp.int32), pictures.shape[-3])
    columns = reflected(taps[:, :, 1].astype(jnp.int32), pictures.shape[-2])
    seen = pictures[..., rows[:, :, :, None], columns[:, :, None, :], :]
    return jnp.einsum("...hwijc,hwi,hwj->...hwc", seen, weights[:, :, 0], weights[:, :, 1])


def keys_kernel(distance: Array) -> Array:
    """The cubic through a pixel and none of its neighbours that reproduces parabolas."""
    d = abs(distance)
    near, far = (1.5 * d - 2.5) * d**2 + 1, ((2.5 - 0.5 * d) * d - 4) * d + 2
    return jnp.where(d < 1, near, jnp.where(d < 2, far, 0.0))


def reflected(index: Array, size: int) -> Array:
    """Indices within [0, size), reflected at the first and at the last pixel."""
    period = max(2 * (size - 1), 1)
    index = index % period
    return jnp.minimum(index, period - index)
