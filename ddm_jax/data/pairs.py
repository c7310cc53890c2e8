"""Pairs of noise and the sample that a trained run makes of it, as `--mode encode` writes them."""

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ddm_jax import files
from ddm_jax.data.columns import spec_of
from ddm_jax.data.dataset import DataOptions, Dataset, Report, Spec
from ddm_jax.errors import UserError

ABOUT = "pairs.json"  # written last: a folder that has it is whole
_OF_SPEC = ("name", "kind", "low", "high", "levels", "rate", "mirrors")
_BROKEN = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RecursionError),
    *(OverflowError, IndexError, zipfile.BadZipFile, zlib.error),
)


def write_about(
    folder: Path, spec: Spec, settings: Mapping[str, Any], *, count: int, size: int
) -> None:
    """Say what the pairs in a folder are: `count` samples like the data of `spec`.

    They lie in files of `size`, each named by its first, the last one shorter.
    """
    about = {name: getattr(spec, name) for name in _OF_SPEC}
    about |= {
        "classes": list(spec.classes),
        "count": count,
        "size": size,
        "settings": dict(settings),
    }
    files.write_json(folder / ABOUT, about)


def pairs(argument: str, options: DataOptions, report: Report) -> Dataset:
    """The samples "x" of a trained run, each with the "noise" (n, ...) that it was made of.

    A model trained on them learns to undo one noise for each example, not any: its paths are
    straighter (rectified flow: Liu et al. 2022, arXiv:2209.03003, section 2.2).
    """
    folder = _folder(argument)
    for name, own in (("size", ()), ("channels", 0), ("rate", 0), ("frames", 0)):
        if getattr(options, name) != own:
            raise UserError(f"pairs are as they were made; leave data.{name} at {own}")
    try:
        about = json.loads((folder / ABOUT).read_text())
        columns = _columns(folder, int(about["count"]), int(about["size"]))
        low, high, levels = float(about["low"]), float(about["high"]), int(about["levels"])
        classes = [str(name) for name in about["classes"]] if "label" in columns else []
        _check(columns, low < high, levels, len(classes))
        rest = {"kind": str(about["kind"]), "rate": float(about["rate"])}
        rest["mirrors"] = bool(about["mirrors"])
        spec = spec_of(
            f"pairs of {about['name']}",
            columns,
            classes,
            low=low,
            high=high,
            levels=levels,
            **rest,
        )
    except _BROKEN as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"data.name=pairs:{argument} is broken ({reason}); remove the folder and make it anew "
            "with --mode encode"
        ) from error
    return Dataset(spec, columns)


def _folder(argument: str) -> Path:
    """The folder of pairs that is named, or the only one of the run that is; else UserError."""
    folder = Path(argument).expanduser()
    there = [folder / ABOUT, *sorted(folder.glob(f"pairs/*/{ABOUT}"))] if argument else []
    found = [path.parent for path in there if path.is_file()]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(
            f"data.name=pairs:{argument} has several sets of pairs ({names}); name one, as in "
            f"pairs:{found[0]}"
        )
    if not found:
        raise UserError(
            f"data.name=pairs:{argument} has no pairs; make some with --mode encode --workdir "
            "<a run>, and name that run"
        )
    return found[0]


def _columns(folder: Path, count: int, size: int) -> dict[str, np.ndarray]:
    """The columns of all parts, joined; ValueError where they are not what was written."""
    rows: list[dict[str, np.ndarray]] = []
    for first in range(0, count, size):
        with (
            (folder / f"{first:08}.npz").open("rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            rows.append({name: arrays[name] for name in arrays})
    names = [name for name in ("x", "noise", "label", "text") if name in rows[0]]
    columns = {name: np.concatenate([row[name] for row in rows]) for name in names}
    if any(len(column) != count for column in columns.values()):
        raise ValueError(f"the files do not hold {count} pairs")
    return columns


def _check(columns: Mapping[str, np.ndarray], ordered: bool, levels: int, classes: int) -> None:
    """ValueError for columns that no run writes. ordered: whether the range has a width."""
    if not ordered:
        raise ValueError("low is not below high")
    kinds = {"x": np.uint8 if levels else np.float32, "noise": np.float32, "label": np.int32}
    for name, kind in kinds.items():
        if name in columns and columns[name].dtype != kind:
            raise ValueError(f"{name} is of {columns[name].dtype}")
    x, noise = columns["x"], columns["noise"]
    if x.shape != noise.shape:
        raise ValueError(f"x is {x.shape} and noise {noise.shape}: each x needs its own")
    if not np.isfinite(noise).all():
        raise ValueError("noise holds values that are not finite")
    if "text" in columns and columns["text"].dtype.kind != "U":
        raise ValueError("text is none")
    label = columns.get("label")
    if label is not None and not 0 <= label.min() <= label.max() < classes:
        raise ValueError("a label is of no class")
