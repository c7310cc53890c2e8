"""The user's own pictures and masks, brought to the shape of a run's data."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ddm_jax.data.dataset import Report, Spec
from ddm_jax.data.folder import SUFFIXES
from ddm_jax.data.images import BROKEN, fit, read
from ddm_jax.errors import UserError

Size = tuple[int, int]  # height and width in pixels


class Pictures(NamedTuple):
    """Pictures from files: values (n, H, W, C) as the data store them, and their own sizes."""

    values: np.ndarray
    files: list[Path]
    sizes: tuple[Size, ...]


def read_pictures(text: str, spec: Spec, report: Report) -> Pictures:
    """The pictures that `text` names: a file, several with commas between them, or a folder.

    Each is cropped around its centre to the ratio of the data, resized to their size and made grey
    or coloured as they are, and told of where that changed it. Raises UserError for what is no
    picture, is empty, too large or missing, and for data that are no pictures.
    """
    check_pictures(spec)
    *space, channels = spec.shape
    step = (spec.high - spec.low) / 255
    values, files, sizes = [], _files(text), []
    for file in files:
        image = _open(file)
        report(f"{file}: {_change(image, (space[0], space[1]), channels)}")
        values.append(spec.low + step * fit(image, tuple(space), channels))
        sizes.append((image.height, image.width))
    return Pictures(np.stack(values).astype(np.float32), files, tuple(sizes))


def check_pictures(spec: Spec) -> None:
    """UserError for data that are no pictures."""
    if spec.kind != "image" or len(spec.shape) != 3:
        raise UserError(
            f"{spec.name} holds no pictures but {spec.kind} of shape {spec.shape}, which no file "
            "of yours can be brought to; take its own examples by first and count"
        )


def _files(text: str) -> list[Path]:
    whole = _path(text)
    found = []
    for name in [text] if whole else text.split(","):
        path = whole or _path(name.strip())
        if path is None:
            raise UserError(
                f"no file {name!r}; name a picture, several with commas between them, or a folder"
            )
        try:
            inside = [path] if path.is_file() else sorted(path.iterdir())
        except OSError as error:
            raise UserError(f"the folder {path} cannot be read: {error.strerror}") from error
        good = [p for p in inside if p == path or p.suffix.lower() in SUFFIXES]
        if not good:
            endings = ", ".join(sorted(SUFFIXES))
            raise UserError(f"no images in {path}; known endings are {endings}")
        found += good
    return found


def _path(text: str) -> Path | None:
    """The file or folder of a name, None where there is none, whatever the name."""
    try:
        path = Path(text).expanduser()
        return path if text and (path.is_file() or path.is_dir()) else None
    except (OSError, ValueError, RuntimeError):  # too long, with a null byte, of no user
        return None


def _open(file: Path) -> Image.Image:
    try:
        return read(file)
    except BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{file} cannot be used: {reason}; take another picture") from error


def _change(image: Image.Image, space: Size, channels: int) -> str:
    """What `fit` does to an image, in words."""
    height, width = space
    done = []
    if image.width * height != image.height * width:
        done.append(f"cropped around its centre to {height}:{width}")
    if (image.height, image.width) != space:
        done.append(f"resized to {height} x {width} pixels")
    if len(image.getbands()) != channels:
        done.append("made grey" if channels == 1 else "given three equal colours")
    was = f"{image.height} x {image.width} pixels"
    return f"{was}, {', '.join(done)}" if done else f"{was}, taken as it is"


def _centre(space: Size) -> tuple[slice, slice]:
    """Rows and columns of the middle half of each side."""
    height, width = (slice(n // 4, n - n // 4) for n in space)
    return height, width


def _box(space: Size, name: str) -> tuple[slice, slice]:
    """Rows and columns of a named part of a picture."""
    height, width = space
    every = slice(None)
    return {
        "centre": _centre(space),
        "outer": _centre(space),
        "left": (every, slice(width // 2)),
        "right": (every, slice(width - width // 2, None)),
        "top": (slice(height // 2), every),
        "bottom": (slice(height - height // 2, None), every),
    }[name]


_NOTHING_KEPT = (
    "the whole picture, so nothing of it is kept; leave some of it out, or take --mode sample"
)
PARTS = ("centre", "outer", "left", "right", "top", "bottom")


def read_mask(text: str, space: Size, sizes: tuple[Size, ...], count: int) -> np.ndarray:
    """Which pixels of `count` pictures are known, (count, H, W, 1) bool.

    text: one of PARTS, which is to be filled in (`outer`: all around the centre); a box `top, left,
    height, width` in pixels; or a picture, white where it is to be filled in, of the size of the
    data or of the user's own pictures, whose `sizes` are given. Raises UserError for what is none,
    and where nothing would be filled in or nothing kept.
    """
    missing = np.zeros(space, bool)
    numbers = text.strip("() ")
    if text in PARTS:
        missing[_box(space, text)] = True
        missing = ~missing if text == "outer" else missing
    elif re.fullmatch(r"[-\d\s,]+", numbers):
        missing[_given_box(numbers, space)] = True
    else:
        return _picture_of_mask(text, space, sizes, count)
    if missing.all():
        raise UserError(f"mask={text} covers {_NOTHING_KEPT}")
    return np.broadcast_to(~missing[None, ..., None], (count, *space, 1))


def _given_box(text: str, space: Size) -> tuple[slice, slice]:
    try:
        top, left, height, width = (int(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(
            f"mask={text} is no box; four whole numbers make one: top,left,height,width"
        ) from error
    inside = top >= 0 and left >= 0 and top + height <= space[0] and left + width <= space[1]
    if not inside or height < 1 or width < 1:
        raise UserError(
            f"the box {text} (top, left, height, width) does not lie in a picture of {space[0]} x "
            f"{space[1]} pixels; give one that does"
        )
    return slice(top, top + height), slice(left, left + width)


def _picture_of_mask(text: str, space: Size, sizes: tuple[Size, ...], count: int) -> np.ndarray:
    file = _path(text)
    if file is None or file.is_dir():
        raise UserError(
            f"mask={text!r} is no file; name a picture, white where it is to be filled in, a box "
            f"top,left,height,width, or one of {', '.join(PARTS)}"
        )
    image = _open(file)
    size = image.height, image.width
    allowed = {space, *(sizes if len(set(sizes)) == 1 else ())}
    if size not in allowed:
        wanted = " or ".join(f"{h} x {w}" for h, w in sorted(allowed))
        raise UserError(f"the mask {file} has {size[0]} x {size[1]} pixels; it must have {wanted}")
    white = fit(image, space, 1) >= 128
    if not white.any():
        raise UserError(f"the mask {file} holds no white, so there is nothing to fill in")
    if white.all():
        raise UserError(f"the mask {file} is white all over and covers {_NOTHING_KEPT}")
    return np.broadcast_to(~white[None], (count, *white.shape))
