"""What processes other than the first write of a checkpoint: their parts of arrays, in a file each.

A portion is `parts/<process>/<step>.safetensors` beside the folder of the checkpoints. It counts
where there is a checkpoint of its step, which the first process writes once all portions are there.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ddm_jax import files
from ddm_jax.errors import MEND, RunError
from ddm_jax.training.leaves import flat, joined, sha256, size_of

Fields = Mapping[str, Mapping[str, np.ndarray]]  # of a state: parts of arrays by name


def portion(directory: Path, process: int, step: int) -> Path:
    """Where a process writes its portion of a step of the checkpoints in `directory`."""
    return directory.parent / "parts" / str(process) / f"{step}.safetensors"


def portions(directory: Path, step: int | None = None) -> list[Path]:
    """Those that there are of a step, or of any."""
    name = "*" if step is None else str(step)
    return sorted((directory.parent / "parts").glob(f"[0-9]*/{name}.safetensors"))


def forget(directory: Path) -> None:
    """Remove the portions of steps that have no checkpoint: it is gone, or never became whole."""
    for path in portions(directory):
        if not (directory / path.stem).exists():
            path.unlink()


def write(path: Path, fields: Fields) -> None:
    """Write parts of arrays with the sha256 sum of each, whole or not at all; RunError where they
    cannot be written."""
    parts = {
        field + name: np.ascontiguousarray(part)
        for field, leaves in fields.items()
        for name, part in leaves.items()
    }
    sums = json.dumps({name: sha256(part) for name, part in parts.items()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, lambda part: part.write_bytes(save(parts, {"sha256": sums})))
    except OSError as error:
        raise RunError(f"{path} could not be written: {error.strerror}; {MEND}") from error


def whole(
    directory: Path, step: int, own: Fields, like: Mapping[str, Any]
) -> dict[str, dict[str, np.ndarray]]:
    """Whole arrays of what stands in a checkpoint itself and in the portions of its step.

    like: by field, what has their shapes. ValueError, whose text says what, where a portion is
    broken, or a part of an array is in none.
    """
    found = {field: dict(leaves) for field, leaves in own.items()}
    for path in portions(directory, step):
        for field, leaves in read(path, {field: size_of(like[field]) for field in own}).items():
            found[field] |= leaves
    return {field: joined(leaves, flat(like[field])) for field, leaves in found.items()}


def read(path: Path, fields: Mapping[str, int]) -> dict[str, dict[str, np.ndarray]]:
    """The parts of those fields in a file.

    fields: by name, the bytes that each may take. ValueError, whose text says what, where something
    is wrong with it.
    """
    found: dict[str, dict[str, np.ndarray]] = {field: {} for field in fields}
    try:
        with safe_open(path, framework="numpy") as file:
            sums = json.loads((file.metadata() or {})["sha256"])
            for name in file.keys():  # noqa: SIM118 - no mapping
                field, _, rest = name.partition(".")
                if field in found:
                    found[field]["." + rest] = file.get_tensor(name)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({' '.join(str(error).split())[:120]})") from error
    for field, leaves in found.items():
        if sum(part.nbytes for part in leaves.values()) > fields[field]:
            raise ValueError(f"{path} holds more of {field} than there is")
        for name, part in leaves.items():
            if not isinstance(sums, dict) or sha256(part) != sums.get(field + name):
                raise ValueError(f"sha256 of {field}{name} differs in {path}")
            if not np.isfinite(part).all():
                raise ValueError(f"{field}{name} is not finite in {path}")
    return found
