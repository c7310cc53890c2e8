"""Animations: frames as arrays to a GIF or MP4 file."""

import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

from ddm_jax.errors import UserError
from ddm_jax.figures.plots import canvas, enlarged

_SIDE = 256  # pixels that small frames are enlarged to


def mosaic(images: np.ndarray, columns: int) -> np.ndarray:
    """uint8 images (n, B, H, W, C) as n frames, each of B images row by row."""
    return np.stack([canvas(frame, columns) for frame in images])


def there_and_back(frames: np.ndarray) -> np.ndarray:
    """The frames 0, ..., n - 1, ..., 1: played in a loop, without a jump."""
    return np.concatenate([frames, frames[-2:0:-1]])


def animation(frames: np.ndarray, path: Path, ms: int = 60, hold: int = 1500) -> None:
    """uint8 frames (n, H, W, 1 or 3), `ms` milliseconds each and the last `hold`, to `path`.

    A GIF loops; a path ending in .mp4 makes a film in H.264, by the ffmpeg of imageio-ffmpeg. Small
    frames are enlarged by a whole number. In a GIF grey frames keep all their levels and coloured
    ones have 256 colours each, without dithering, which would add noise to what loses it.
    """
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] not in (1, 3) or not len(frames):
        raise ValueError(f"frames are (n, H, W, 1 or 3), not {frames.shape}")
    if Path(path).suffix == ".mp4":
        _mp4(enlarged(frames, _SIDE), path, ms, hold)
    else:
        _gif(frames, path, ms, hold)


def _gif(frames: np.ndarray, path: Path, ms: int, hold: int) -> None:
    height, width = enlarged(frames[:1], _SIDE).shape[1:3]
    near = Image.Resampling.NEAREST
    still = [_few_colours(frame).resize((width, height), near) for frame in frames]
    times = [ms] * (len(still) - 1) + [hold]
    still[0].save(path, save_all=True, append_images=still[1:], duration=times, loop=0)


def _few_colours(frame: np.ndarray) -> Image.Image:
    """A frame (H, W, 1 or 3) in at most 256 colours, all grey levels or those that suit it best."""
    if frame.shape[-1] == 1:
        return Image.fromarray(frame[..., 0])
    return Image.fromarray(frame).quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=1)


def _mp4(frames: np.ndarray, path: Path, ms: int, hold: int) -> None:
    try:
        import imageio_ffmpeg  # pyright: ignore[reportMissingImports]  - of the extra film
    except ImportError as error:
        raise UserError(
            'an MP4 needs the extra film: pip install -e ".[film]", or a path that ends in .gif'
        ) from error
    count, height, width, _ = frames.shape
    even = np.full((count, height + height % 2, width + width % 2, 3), 255, np.uint8)
    even[:, :height, :width] = frames
    film = np.concatenate([even, even[-1:].repeat(max(0, round(hold / ms) - 1), axis=0)])
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{film.shape[2]}x{film.shape[1]}"]
    made = ["-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p", str(path)]
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error"]
    command = [*program, *raw, "-r", f"{1000 / ms}", "-i", "-", *made]
    result = subprocess.run(command, input=film.tobytes(), capture_output=True)
    if result.returncode:
        said = result.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise UserError(f"cannot write {path}: {said[-1]}; a path ending in .gif needs no ffmpeg")
