"""WAV files: read from any common format to one channel, resampled, and written."""

import io
import math
import struct
import warnings
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ddm_jax import files

RATES = (1_000, 768_000)  # the lowest and the highest that a file is taken to have
MOST_BYTES = 1 << 30  # of a file that is read at all
# What reading a file may raise; scipy has no error of its own for a file without samples.
_BROKEN = (ValueError, struct.error, ArithmeticError, TypeError, NameError, MemoryError)
_STREAMED = (0, 0xFFFFFFFF)  # lengths in the header of a file that was written before its end
_MARGIN = 16  # samples beyond the last one that resampling looks at, at the lower of both rates


class Sound(NamedTuple):
    """Samples (n,) of one channel in [-1, 1], float32, and how many there are a second."""

    samples: np.ndarray
    rate: int


def read_wav(file: Path) -> Sound:
    """A file of whole numbers of 8 to 64 bits or of floats, its channels averaged.

    Whole numbers are divided by 2^(bits - 1), bytes after 128 is taken from them; floats beyond 1
    are clipped. Raises OSError or ValueError, with the reason, for what cannot be used.
    """
    from scipy.io import wavfile

    if not file.is_file():
        raise ValueError("no regular file")
    size = file.stat().st_size
    if not size:
        raise ValueError("an empty file")
    if size > MOST_BYTES:
        raise ValueError(f"{size:,} bytes; at most {MOST_BYTES:,}")
    content = file.read_bytes()
    if content[:4] == b"RIFF" and len(content) >= 8:
        said = int.from_bytes(content[4:8], "little")
        if said not in _STREAMED and said + 8 > len(content):
            raise ValueError(f"cut short: {len(content):,} bytes of {said + 8:,}")
    try:
        # From memory, so that no length in a header has room made for it. Parts that scipy does not
        # know, of which it warns, do no harm.
        with warnings.catch_warnings(action="ignore"):
            rate, found = wavfile.read(io.BytesIO(content))
    except _BROKEN as error:
        raise ValueError(f"no WAV file that can be read: {' '.join(str(error).split())}") from error
    if not found.size:
        raise ValueError("no samples")
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"{rate:,} samples a second; from {RATES[0]:,} to {RATES[1]:,} are taken")
    values = _in_unit_range(found)
    if not np.isfinite(values).all():
        raise ValueError("values that are not finite")
    mono = values.mean(-1) if values.ndim > 1 else values
    return Sound(np.clip(mono, -1, 1).astype(np.float32), int(rate))


def _in_unit_range(found: np.ndarray) -> np.ndarray:
    """Samples of any type, float64, whole numbers in [-1, 1); 24 bits come as the upper of 32."""
    values = found.astype(np.float64)
    if found.dtype == np.uint8:
        return (values - 128) / 128
    return values / 2.0 ** (8 * found.dtype.itemsize - 1) if found.dtype.kind == "i" else values


def write_wav(path: Path, samples: np.ndarray, rate: int) -> None:
    """Samples (n,) in [-1, 1] as 16 bits each: round(32768 x), held in their range."""
    whole = np.rint(np.asarray(samples, np.float64) * 32768)
    frames = np.clip(whole, -32768, 32767).astype("<i2").tobytes()

    def write(part: Path) -> None:
        with wave.open(str(part), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(frames)

    files.replace(path, write)


def fitted(sound: Sound, rate: int, length: int) -> np.ndarray:
    """The first `length` samples of a sound at `rate`, float32, with silence after its end.

    Another rate is reached by up- and downsampling by whole numbers with a low-pass filter between
    them, which takes away what the lower of both rates cannot hold: scipy's resample_poly.
    """
    samples = sound.samples
    if sound.rate != rate:
        from scipy.signal import resample_poly

        common = math.gcd(sound.rate, rate)
        up, down = rate // common, sound.rate // common
        needed = (length + _MARGIN) * down // up + _MARGIN
        samples = np.clip(resample_poly(samples[:needed].astype(np.float64), up, down), -1, 1)
    found = np.zeros(length, np.float32)
    kept = samples[:length]
    found[: len(kept)] = kept
    return found
