"""What is measured of decoded columns: their moments and digests, and the Spec that holds them."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ddm_jax.data.dataset import COLUMNS, Spec
from ddm_jax.errors import UserError
from ddm_jax.files import new_array


def spec_of(
    name: str, columns: Mapping[str, np.ndarray], classes: Iterable[str] = (), **about: Any
) -> Spec:
    """The Spec of decoded columns; `about` are its fields from `kind` on.

    Mean and deviation of bytes are exact, from their histogram; others are summed in float64.
    Raises UserError for values that are not finite.
    """
    x = columns["x"]
    spec = Spec(
        name,
        tuple(x.shape[1:]),
        len(x),
        tuple(classes),
        "text" in columns,
        mean=(),
        std=(),
        sha256=digests(columns),
        picture=tuple(columns["image"].shape[1:]) if "image" in columns else (),
        embedding=columns["embedding"].shape[1] if "embedding" in columns else 0,
        **about,
    )
    moments = _moments_of_bytes if x.dtype == np.uint8 else _moments
    mean, variance = moments(x, spec.low, spec.high - spec.low)
    if not np.isfinite(mean).all():
        raise UserError(f"{name} holds values that are not finite; mend or leave out such examples")
    std = np.sqrt(np.maximum(variance, 1e-12))
    return dataclasses.replace(spec, mean=tuple(mean.tolist()), std=tuple(std.tolist()))


def _moments_of_bytes(x: np.ndarray, low: float, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (C,) of (x - low) / width for uint8 x (N, ..., C)."""
    levels, channels = (np.arange(256) - low) / width, x.shape[-1]
    counts = np.zeros((channels, 256), np.int64)
    for block in _blocks(x):
        block = block.reshape(-1, channels)
        counts += [np.bincount(block[:, c], minlength=256) for c in range(channels)]
    weights = counts / counts.sum(1, keepdims=True)
    mean = weights @ levels
    return mean, weights @ levels**2 - mean**2


def _moments(x: np.ndarray, low: float, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (C,) of (x - low) / width for any x (N, ..., C), each in a pass."""
    axes, each = tuple(range(x.ndim - 1)), x[..., 0].size

    def average(of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        parts = ((block.astype(np.float64) - low) / width for block in _blocks(x))
        return np.sum([of(part).sum(axes) for part in parts], axis=0) / each

    mean = average(lambda u: u)
    return mean, average(lambda u: (u - mean) ** 2)


def digests(columns: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """`Spec.sha256` of data: they are the same data where these are, wherever they lie."""
    return tuple(_digest(columns[name]) if name in columns else "" for name in COLUMNS)


def _digest(column: np.ndarray) -> str:
    """The sha256 sum of an array; of text whatever the room that the array has for it."""
    digest = hashlib.sha256()
    if column.dtype.kind == "U":
        digest.update(json.dumps(column.tolist()).encode())
        return digest.hexdigest()
    digest.update(f"{column.dtype.str}{column.shape}".encode())
    for block in _blocks(column):
        digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Parts of an array that need not fit in memory."""
    return (np.asarray(array[start : start + 4096]) for start in range(0, len(array), 4096))


def truncate(column: np.memmap, path: Path, kept: int) -> None:
    """Keep the first `kept` rows of an array that is mapped to the file `path`."""
    column.flush()
    if kept < len(column):
        shape = (kept, *column.shape[1:])
        whole = new_array(path.with_suffix(".cut"), column.dtype, shape)
        for start in range(0, kept, 1024):
            whole[start : start + 1024] = column[start : min(start + 1024, kept)]
        whole.flush()
        path.with_suffix(".cut").replace(path)
