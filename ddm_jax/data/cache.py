"""Decoded data on the disk: made once, checked whenever they are opened."""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ddm_jax.data.columns import digests, spec_of
from ddm_jax.data.dataset import COLUMNS, Dataset, Spec
from ddm_jax.errors import UserError

_FORMAT = 4  # of an entry; those of other formats are never opened


class Decoded(NamedTuple):
    """What decoding gives beside the columns that it writes.

    columns: the other ones. problems: as in Dataset. about: fields of the Spec, from `kind` on.
    written: the columns that stand in files already.
    """

    columns: Mapping[str, np.ndarray]
    classes: Iterable[str] = ()
    problems: Iterable[tuple[str, str]] = ()
    about: Mapping[str, Any] = MappingProxyType({})
    written: tuple[str, ...] = ("x",)


def cached(folder: str, key: dict[str, Any], make: Callable[[Path], Decoded]) -> Dataset:
    """The data set stored under `key`, memory-mapped; `make` decodes it where it is not there.

    `make(path)` writes the column x to `path`, an .npy, and may write others beside it, each to its
    `<name>.npy`. An entry that cannot be read or does not match its sha256 sums is made anew.
    Entries appear whole or not at all, so several processes may build the same one.
    """
    key = {"format": _FORMAT, **key}
    root = cache_folder(folder)
    label = "".join(c if c.isalnum() else "_" for c in str(key["name"]))[-40:]
    entry = root / f"{label}-{_digest(key)[:16]}"
    found = _open(entry)
    if found is not None:
        return found
    try:
        root.mkdir(parents=True, exist_ok=True)
        _forget_dead(root)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=root))
        try:
            _write(part, key, make)
            _put(part, entry)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"cannot cache the decoded data in {root}: {error}; give --config.data.cache=<folder>"
        ) from error
    made = _open(entry)
    if made is None:
        raise UserError(f"{entry} cannot be read back; give --config.data.cache=<another folder>")
    return made


def cache_folder(folder: str = "") -> Path:
    """`folder` where it is given, else the variable DDM_JAX_CACHE, else the user's own."""
    users = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "ddm_jax"
    return Path(folder or os.environ.get("DDM_JAX_CACHE") or users).expanduser()


def _digest(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _write(part: Path, key: dict[str, Any], make: Callable[[Path], Decoded]) -> None:
    """The files of an entry: one a column, and meta.json with a sum of its own."""
    decoded = make(part / "x.npy")
    for name, column in decoded.columns.items():
        np.save(part / f"{name}.npy", column, allow_pickle=False)
    written = {name: np.load(part / f"{name}.npy", mmap_mode="r") for name in decoded.written}
    columns = {**written, **decoded.columns}
    spec = spec_of(key["name"], columns, decoded.classes, **decoded.about)
    meta = {"key": key, "spec": asdict(spec), "problems": list(decoded.problems)}
    (part / "meta.json").write_text(json.dumps({**meta, "sha256": _digest(meta)}))


def _forget_dead(root: Path) -> None:
    """Remove what processes that were killed have left, from an hour after they last wrote."""
    for part in root.glob(".part-*"):
        with suppress(OSError):
            if max(p.stat().st_mtime for p in (part, *part.iterdir())) < time.time() - 3600:
                shutil.rmtree(part)


def _put(part: Path, entry: Path) -> None:
    """Move a new entry into its place, whatever lies there."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)
    try:
        part.rename(entry)
    except OSError:  # another process was first
        if _open(entry) is None:
            raise


def _open(entry: Path) -> Dataset | None:
    """The data set in an entry; None where there is none, or one that is not as it was written."""
    try:
        meta = json.loads((entry / "meta.json").read_text())
        if meta.pop("sha256") != _digest(meta):
            return None
        spec = Spec.read(meta["spec"])
        there = [name for name, digest in zip(COLUMNS, spec.sha256, strict=True) if digest]
        columns = {name: np.load(entry / f"{name}.npy", mmap_mode="r") for name in there}
        if digests(columns) != spec.sha256:
            return None
        return Dataset(spec, columns, problems=tuple(map(tuple, meta["problems"])))
    except Exception:  # JSON and numpy raise whatever a broken file leads to
        return None
