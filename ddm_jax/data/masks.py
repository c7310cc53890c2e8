"""The table of masks: what of an example is known, by the kind of data."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ddm_jax.data.dataset import Spec
from ddm_jax.data.pictures import Size, read_mask
from ddm_jax.data.waves import read_stretch


class Masks(NamedTuple):
    """How a kind of data is masked.

    read: (text, spec, sizes of the user's own examples, count) -> (count, *space, 1) bool, True
    where an example is known; UserError for a text that names no mask. size: of an example in
    words, around its places.
    """

    read: Callable[[str, Spec, tuple[Size, ...], int], np.ndarray]
    size: str


def of_pictures(text: str, spec: Spec, sizes: tuple[Size, ...], count: int) -> np.ndarray:
    """A part of the picture by name, a box, or a picture of the mask."""
    height, width = spec.shape[:2]
    return read_mask(text, (height, width), sizes, count)


def of_waves(text: str, spec: Spec, sizes: tuple[Size, ...], count: int) -> np.ndarray:
    """A stretch of the wave by name, or by its start and length."""
    return read_stretch(text, spec.shape[0], count)


MASKS = {
    "image": Masks(of_pictures, "pictures of {} pixels"),
    "wave": Masks(of_waves, "waves of {} samples"),
}
