"""Vectors that were made elsewhere, one an example, read from an .npy or .npz."""

import dataclasses
import functools
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ddm_jax.data.columns import digests
from ddm_jax.data.dataset import Dataset
from ddm_jax.data.found import stamp
from ddm_jax.errors import UserError

_BROKEN = (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error)
_REMEDY = "give an .npy, or an .npz of one array, of (vectors, numbers), as numpy.save writes it"
_ROW = re.compile(r"(.+\.np[yz]):(\d+)", re.DOTALL)


def as_vectors(values: Any) -> np.ndarray:
    """`values` (n, D), or one vector (D,), as float32 (n, D); ValueError says what is wrong."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError("the rows differ in length") from error
    if array.ndim not in (1, 2) or not array.size:
        raise ValueError(f"the shape is {array.shape}")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{array.dtype} is no type of number")
    with np.errstate(over="ignore"):  # what is beyond float32 is refused below
        vectors = np.atleast_2d(array).astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(vectors).all(1))
    if len(bad):
        raise ValueError(f"row {bad[0]} holds what is no finite float32 number")
    return vectors


def read_vectors(name: str) -> np.ndarray:
    """The vectors (n, D), float32, of the file `name`; ValueError with the remedy.

    A file that did not change is read once, however many of its rows are asked for.
    """
    try:
        path = Path(name).expanduser()
        return _vectors_in(path, *stamp(path))
    except (*_BROKEN, RuntimeError) as error:  # RuntimeError for the home of no user
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name!r} holds no vectors ({reason}); {_REMEDY}") from error


@functools.lru_cache(maxsize=2)
def _vectors_in(path: Path, size: int, changed: int) -> np.ndarray:
    """The vectors of a file of this size and time of change, which nothing may write to."""
    with path.open("rb") as file:
        if path.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                (key,) = arrays
                vectors = as_vectors(arrays[key])
        else:
            vectors = as_vectors(np.lib.format.read_array(file, allow_pickle=False))
    vectors.flags.writeable = False
    return vectors


def each_vector(name: str) -> tuple[str, ...]:
    """`vectors.npy` as `vectors.npy:0`, `vectors.npy:1`, ...; as it is where it is one vector, or
    cannot be read, which `asked_vector` will say."""
    try:
        count = 1 if _ROW.fullmatch(name) else len(read_vectors(name))
    except ValueError:
        return (name,)
    return (name,) if count == 1 else tuple(f"{name}:{k}" for k in range(count))


def asked_vector(name: str, size: int) -> np.ndarray:
    """The vector (size,) that `vectors.npy` holds, or its row k, `vectors.npy:k`.

    ValueError with the remedy for a file that cannot be read or holds others.
    """
    found = _ROW.fullmatch(name)
    file, row = (found[1], int(found[2])) if found else (name, None)
    vectors = read_vectors(file)
    count, length = vectors.shape
    if length != size:
        raise ValueError(
            f"{file!r} holds vectors of {length:,} numbers, and those of the data have {size:,}; "
            "make them as those were made"
        )
    if row is None and count > 1:
        raise ValueError(f"{file!r} holds {count:,} vectors; name one, as in {file}:0")
    if row is not None and row >= count:
        raise ValueError(f"{file!r} has rows 0 to {count - 1}, and none of {row}; name one of them")
    return vectors[row or 0]


def with_vectors(data: Dataset, name: str) -> Dataset:
    """The data with the vectors of a file as their column "embedding".

    UserError where it cannot be read, has another number of them, or the data have their own.
    """
    if "embedding" in data.columns:
        raise UserError(
            f"{data.spec.name} has embeddings of its own; leave data.embeddings empty, or take "
            "them out of metadata.jsonl"
        )
    try:
        vectors = read_vectors(name)
    except ValueError as error:
        raise UserError(f"data.embeddings: {error}") from error
    if len(vectors) != data.spec.count:
        left = f", {len(data.problems):,} files left out" if data.problems else ""
        raise UserError(
            f"data.embeddings={name} holds {len(vectors):,} vectors for {data.spec.count:,} "
            f"examples of {data.spec.name}{left}; give one for each, in their order"
        )
    sha256 = digests({**data.columns, "embedding": vectors})
    spec = dataclasses.replace(data.spec, embedding=vectors.shape[1], sha256=sha256)
    return dataclasses.replace(data, spec=spec, columns={**data.columns, "embedding": vectors})
