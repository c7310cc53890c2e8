"""Pictures brought to one size and to grey or RGB."""

import numpy as np
from PIL import Image, ImageOps


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
