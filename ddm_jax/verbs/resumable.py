"""Long work in parts, each kept on the disk as soon as it is done."""

import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np

from ddm_jax import files
from ddm_jax.training.layout import Layout
from ddm_jax.training.processes import broadcast, together

Arrays = dict[str, np.ndarray]


def in_parts(
    layout: Layout,
    folder: Path,
    like: Mapping[str, jax.ShapeDtypeStruct],
    count: int,
    *,
    size: int,
    make: Callable[[int, int], Arrays],
    say: Callable[[str], None],
) -> Arrays:
    """Arrays (count, ...), made by make(first, n) in parts of `size`, the last one shorter.

    The first process keeps part k as `folder/<first>.npz`, and a part that is there, whole, is not
    made again: work that was interrupted goes on, and its end is the same to the last bit. like: a
    row of each array. All processes must call it, and have all arrays. What a folder holds belongs
    to one set of settings, which its name must tell.
    """
    starts = range(0, count, size)
    kept: dict[int, Arrays | None] = dict.fromkeys(starts)
    with together(layout):
        if layout.first:
            folder.mkdir(parents=True, exist_ok=True)
            for first in starts:
                kept[first] = _read(_path(folder, first), like, min(size, count - first))
    there = np.asarray(broadcast(layout, np.array([kept[first] is not None for first in starts])))
    if there.any():
        say(f"{there.sum()} of {len(there)} parts are there already, in {folder}")
    rows = []
    for first, known in zip(starts, there, strict=True):
        n = min(size, count - first)
        if known:
            blank = {name: np.zeros((n, *row.shape), row.dtype) for name, row in like.items()}
            part = jax.tree.map(np.asarray, broadcast(layout, kept[first] or blank))
        else:
            part = make(first, n)
            with together(layout):
                if layout.first:
                    files.write_arrays(_path(folder, first), **part)
        rows.append(part)
    return {name: np.concatenate([part[name] for part in rows]) for name in like}


def part_size(batch: int, about: int = 512) -> int:
    """Examples in a part: whole batches, some `about`."""
    return batch * math.ceil(about / batch)


def _path(folder: Path, first: int) -> Path:
    return folder / f"{first:08}.npz"


def _read(path: Path, like: Mapping[str, jax.ShapeDtypeStruct], n: int) -> Arrays | None:
    """The part of n rows in a file; None where it is not there, or not what was written."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in like}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    fits = all(
        found[name].shape == (n, *row.shape) and found[name].dtype == row.dtype
        for name, row in like.items()
    )
    return found if fits else None
