"""Pictures read from files, and brought to one size and to grey or RGB."""

import struct
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from ddm_jax.errors import UserError

MAX_PIXELS = 64_000_000  # a larger picture is taken for a decompression bomb
# What reading a picture may raise; struct.error comes of EXIF that is cut short.
BROKEN = (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError)
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_ON_ITS_SIDE = (5, 6, 7, 8)  # EXIF orientations that swap height and width


def fit(image: Image.Image, space: tuple[int, ...], channels: int) -> np.ndarray:
    """uint8 (h, w, channels): converted, and cropped and resized to `space`, (h, w), if any."""
    image = image if image.mode in ("L", "RGB") else image.convert("RGB")
    image = image.convert("L" if channels == 1 else "RGB")
    if space:
        height, width = space
        if image.size != (width, height):
            image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def read(file: Path) -> Image.Image:
    """A file as 8-bit grey or RGB, upright; raises one of BROKEN, most often with the reason."""
    if file.stat().st_size == 0:
        raise ValueError("an empty file")
    # Pillow warns of bombs, which are refused here, and of broken EXIF, which does no harm.
    with warnings.catch_warnings(action="ignore"), Image.open(file) as image:
        _check_size(image)
        image.load()
        image = ImageOps.exif_transpose(image)
    return _plain(image)


def read_frames(file: Path, most: int) -> list[Image.Image]:
    """The first frames of an animation, at most so many, each as `read` gives a picture."""
    frames = []
    with warnings.catch_warnings(action="ignore"), Image.open(file) as image:
        _check_size(image)
        for k in range(min(most, count_frames(image))):
            image.seek(k)
            frames.append(_plain(image.copy()))
    return frames


def count_frames(image: Image.Image) -> int:
    """How many pictures a file holds, 1 where it is no animation."""
    return getattr(image, "n_frames", 1)


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels; at most {MAX_PIXELS:,}")


def _plain(image: Image.Image) -> Image.Image:
    """As 8-bit grey or RGB, on white where it is transparent."""
    if image.mode in SIXTEEN_BIT:
        grey = np.asarray(image, np.float64) / 257
        return Image.fromarray(np.rint(np.clip(grey, 0, 255)).astype(np.uint8))
    if image.mode in ("1", "L"):
        return image.convert("L")
    if image.mode in ("RGBA", "LA", "PA", "P") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def upright(image: Image.Image) -> tuple[int, int]:
    """(height, width) of an image once it is turned as its EXIF says.

    Square ones and bombs are not asked, since to look for its EXIF may mean to decode a picture.
    """
    width, height = image.size
    if width == height or width * height > MAX_PIXELS:
        return height, width
    turned = image.getexif().get(ExifTags.Base.Orientation) in _ON_ITS_SIDE
    return (width, height) if turned else (height, width)


def headers(files: Iterable[Path]) -> list[tuple[tuple[int, int], bool]]:
    """((height, width), whether it is grey) of every readable image; its pixels are not decoded."""
    found = []
    for file in files:
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(file) as image:
                found.append((upright(image), image.mode in ("1", "L", *SIXTEEN_BIT)))
        except BROKEN:
            continue
    return found


def shared_format(
    root: Path, files: Iterable[Path], space: tuple[int, ...], channels: int
) -> tuple[tuple[int, ...], int]:
    """((height, width), channels), and where they are () and 0 those that all readable images
    share; 1 channel if all are grey.
    """
    if space and channels:
        return space, channels
    found = headers(files)
    spaces, grey = {of for of, _ in found}, all(grey for _, grey in found)
    if not space and len(spaces) > 1:
        raise UserError(
            f"images in {root} differ in size; set --config.data.size=64, say, or 48,64 (height, "
            "width)"
        )
    return space or (spaces.pop() if spaces else (1, 1)), channels or (1 if grey else 3)
