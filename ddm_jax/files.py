"""Files that are there whole or not at all, however a process ends."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ddm_jax.errors import UserError


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Have `write` make a file beside `path`, and put it in its place once it is on the disk.

    The folder is made where its parent is there. After a loss of power `path` is the file that was
    there before or the new one, whole.
    """
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    write(part)
    _to_disk(part)
    part.replace(path)
    with suppress(OSError):  # some file systems cannot with folders
        _to_disk(path.parent)


def _to_disk(path: Path) -> None:
    """Have the system write what it keeps in memory of a file, or of the names in a folder."""
    place = os.open(path, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def new_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> np.memmap:
    """A new .npy of zeros, mapped into memory to be filled; OSError where it has no room.

    Its room is taken at once: to fill a file that has none ends a process without a word.
    """
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def check_free(path: Path, remedy: str) -> None:
    """UserError with the remedy where `path` is there and is no empty folder."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} is there already, and nothing is written over it; {remedy}")


@contextmanager
def new_folder(path: Path, remedy: str) -> Iterator[Path]:
    """A folder beside `path`, to be filled, which takes its place at the end.

    An error leaves nothing of it. UserError with the remedy where `path` is not free.
    """
    path = path.absolute()
    part = path.with_name(path.name + ".part")
    check_free(path, remedy)
    try:
        shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
        part.mkdir(parents=True)
        yield part
        part.rename(path)  # an empty folder gives way
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; {remedy}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Put `text` into the file `path`."""
    replace(path, lambda part: part.write_text(text))


def write_arrays(path: Path, **arrays: Any) -> None:
    """Put `arrays` into the file `path`, a compressed .npz."""

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.savez_compressed(file, **arrays)

    replace(path, write)


def read_json(path: Path) -> dict[str, Any]:
    """The object in the JSON file `path`, empty where the file is missing or broken."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: Any) -> None:
    """Put `value` into the file `path`, indented for the eye."""
    write_text(path, json.dumps(value, indent=1) + "\n")
