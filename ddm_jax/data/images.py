"""Pictures read from files, and brought to one size and to grey or RGB."""

import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

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
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels; at most {MAX_PIXELS:,}")
        image.load()
        image = ImageOps.exif_transpose(image)
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
