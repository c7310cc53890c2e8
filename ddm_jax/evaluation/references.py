"""Curves of runs that are known to be good, to compare others of the same config with."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ddm_jax import files
from ddm_jax.evaluation.health import Curve

CURVES = Path(__file__).parent / "curves"  # those that ship with the package
_KEYS = frozenset(("step", "settings", "times", "x0_mse"))


def shipped() -> list[Path]:
    """The files of all curves that come with the package."""
    return sorted(CURVES.glob("*.json"))


def read(path: Path) -> tuple[Curve, dict[str, Any]]:
    """(the curve of a file, the settings of its run); ValueError for a file that is none."""
    found = files.read_json(path)
    if not found.keys() >= _KEYS or len(found["times"]) != len(found["x0_mse"]):
        raise ValueError(f"{path} is missing, or holds no curve of --mode doctor")
    times, mean = np.array(found["times"], float), np.array(found["x0_mse"], float)
    return Curve(path.stem, int(found["step"]), times, mean), found["settings"]


def fits(settings: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether a run's settings are those that a curve knows, whatever the seed.

    What the curve does not know of is younger than it, and so at the default that was always there.
    """
    return all(settings.get(key) == value for key, value in known.items() if key != "seed")


def matching(settings: Mapping[str, Any], paths: Iterable[Path]) -> Curve | None:
    """The first of the curves that is of a run with these settings."""
    read_ones = (read(path) for path in paths)
    return next((curve for curve, known in read_ones if fits(settings, known)), None)
