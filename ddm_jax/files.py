"""Files that are there whole or not at all, however a process ends."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Have `write` make a file beside `path`, and put it in its place once it is complete.

    The folder is made where its parent is there.
    """
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    write(part)
    part.replace(path)


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
