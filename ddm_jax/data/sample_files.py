"""Samples that others drew: a folder of images, or the arrays of an .npz."""

import zipfile
from pathlib import Path

import numpy as np

from ddm_jax.data.dataset import Spec
from ddm_jax.data.folder import SUFFIXES
from ddm_jax.data.images import BROKEN, fit, read
from ddm_jax.data.pictures import check_pictures
from ddm_jax.errors import UserError

_NAMES = ("images", "arr_0", "samples")  # of the array in an .npz, as projects call it


def read_samples(text: str, spec: Spec) -> np.ndarray:
    """The samples (n, *shape) in the file or folder `text`, values as the data store them.

    Images are of the data's own size: none is resized, which would change what is measured.
    Raises UserError for what cannot be read, has another shape, or is not finite.
    """
    path = Path(text).expanduser()
    try:
        found = _arrays(path, spec) if path.is_file() else _images(path, spec)
    except OSError as error:
        raise _refused(text, error.strerror or str(error)) from error
    if len(found) < 2:
        raise _refused(text, f"it holds {len(found)} samples, and a set has 2 or more")
    if not np.isfinite(found).all():
        raise _refused(text, "it holds values that are not finite")
    return found


def _refused(text: str, reason: str) -> UserError:
    return UserError(
        f"evaluate.source={text}: {reason}; name a folder of images, or an .npz with an array "
        f"{_NAMES[0]!r} or {_NAMES[1]!r} of (n, height, width, channels)"
    )


def _arrays(path: Path, spec: Spec) -> np.ndarray:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            name = next((n for n in _NAMES if n in arrays), None)
            if name is None:
                raise _refused(str(path), f"it holds {', '.join(arrays) or 'nothing'}")
            found = arrays[name]
    except (ValueError, EOFError, AttributeError, zipfile.BadZipFile, TypeError) as error:
        raise _refused(str(path), "it is no .npz of plain arrays") from error
    if found.dtype != np.uint8 and found.dtype.kind != "f":
        raise _refused(str(path), f"{name} is of {found.dtype}, neither bytes nor floats")
    if found.shape[1:] != spec.shape:
        raise _refused(str(path), f"{name} is {found.shape}, and the data are {spec.shape} each")
    if spec.levels and found.dtype != np.uint8:
        raise _refused(
            str(path), f"{name} is of {found.dtype}, and how it becomes bytes is not said"
        )
    return found


def _images(path: Path, spec: Spec) -> np.ndarray:
    check_pictures(spec)
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
    (height, width), rows = spec.shape[:2], []
    for file in files:
        try:
            image = read(file)
        except BROKEN as error:
            raise _refused(str(path), f"{file.name} cannot be read ({error})") from error
        if (image.height, image.width) != (height, width):
            size = f"{image.height} x {image.width}"
            raise _refused(str(path), f"{file.name} is {size}, and the data {height} x {width}")
        rows.append(fit(image, (), spec.shape[-1]))
    return np.stack(rows) if rows else np.zeros((0, *spec.shape), np.uint8)
