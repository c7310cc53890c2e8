"""A picture as PNG of at most so many bytes."""

import io
import warnings

from PIL import Image

PIXELS = 40_000_000  # of a picture that is opened at all
SIDES = (1200, 900, 700, 500, 350, 250, 170, 120)  # pixels of its longer side


def shrunk(data: bytes, most: int) -> bytes:
    """The picture in the file `data`, as large as fits into `most` bytes of PNG.

    Raises ValueError for what is no picture, or one with more than PIXELS pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its size is looked at below
            picture = Image.open(io.BytesIO(data), formats=("PNG", "GIF", "JPEG"))
        if picture.width * picture.height > PIXELS:
            raise ValueError(f"{picture.width}x{picture.height} pixels are too many")
        picture = picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("it is no picture that can be read") from error
    longest = max(picture.size)
    bytes_per_pixel = 0.0
    for side in [side for side in (longest, *SIDES) if side <= min(longest, SIDES[0])]:
        smaller = picture.copy()
        smaller.thumbnail((side, side))
        pixels = smaller.width * smaller.height
        if bytes_per_pixel * pixels > 1.5 * most:  # far too many, as larger ones have shown
            continue
        file = io.BytesIO()
        smaller.save(file, "PNG")
        if len(file.getvalue()) <= most:
            return file.getvalue()
        bytes_per_pixel = len(file.getvalue()) / pixels
    raise ValueError(f"it does not fit into {most:,} bytes")
