"""The parts of a page about runs: what they were measured by, their curves and their pictures.

Each takes the runs by name, and what it leaves out joins `left`, a line each.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ddm_jax.figures import charts, losses, page
from ddm_jax.figures.page import Cell, cell
from ddm_jax.figures.shrinking import shrunk
from ddm_jax.verbs.measures import Flat, differing, protocols, short
from ddm_jax.verbs.reading import Row, Summary

PICTURES = 24  # on a page
PICTURE_BYTES = 3_300_000  # of all of them; base64 makes 4.4 million characters of these
MEASURES = 2000  # rows of the table of metrics

# Beginnings of settings that say what a loss is the mean of, and so its scale.
SCALES = ("codec.", "prediction.", "objective.", "weighting.", "distance.", "time_sampler.")
SCALES += ("schedule.", "task", "data.name")


def overview(runs: Mapping[str, Summary]) -> list[str]:
    """How many runs there are, and what to mind when their losses are compared."""
    count = Counter(run.result.status for run in runs.values())
    lines = [page.paragraph(", ".join(f"{n} {status}" for status, n in count.items()))]
    known = [run.settings for run in runs.values() if run.settings]
    scales = [key for key in differing(known) if key.startswith(SCALES)]
    if scales:
        few = ", ".join(scales[:4]) + (", ..." if len(scales) > 4 else "")
        lines.append(page.paragraph(f"Losses differ in what they measure, by {few}.", True))
    return lines


def metrics(runs: Mapping[str, Summary], left: list[str]) -> list[str]:
    """The table of all that was measured, after a warning for each name with several protocols."""
    every = [(name, measure) for name, run in runs.items() for measure in run.measures]
    if not every:
        return [page.paragraph("No run has been measured yet; --mode evaluate does it.")]
    known = protocols(measure for _, measure in every)
    parts = []
    for name, several in known.items():
        if len(several) > 1:
            keys = [f"{key} ({_values(several, key)})" for key in differing(several)]
            text = f"{name}: not comparable, as its {len(several)} protocols differ in "
            parts.append(page.paragraph(text + "; ".join(keys), True))
    if len(every) > MEASURES:
        left.append(f"{len(every) - MEASURES:,} numbers after the first {MEASURES:,}")
    header = ["run", "metric", "value", "standard error", "floor", "step", "protocol"]
    rows = []
    for name, measure in every[:MEASURES]:
        several = known[measure.name]
        place = next(k for k, one in enumerate(several) if not differing([one, measure.protocol]))
        folded = {
            **{key: _text(value) for key, value in measure.protocol.items()},
            **{key: _text(value) for key, value in measure.weights.items()},
            **{f"numbers.{key}": _text(value) for key, value in measure.numbers.items()},
        }
        error = measure.numbers.get("standard_error")
        numbers = (measure.value, error, measure.floor, measure.step)
        shown = Cell(f"{place + 1} of {len(several)}", place, folded, len(several) > 1)
        rows.append([cell(name), cell(measure.name), *map(cell, numbers), shown])
    return [*parts, page.table(header, rows, "Metrics")]


def _values(several: Sequence[Flat], key: str) -> str:
    """The different values of a key, for the eye."""
    found = dict.fromkeys(short(_text(one[key])) if key in one else "none" for one in several)
    return " / ".join(found)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def curves(runs: Mapping[str, Summary], left: list[str]) -> list[str]:
    """Loss against step, and what is known by noise level, of the runs of each task."""
    tasks: dict[str, list[str]] = {}
    for name, run in runs.items():
        if run.rows:
            tasks.setdefault(str(run.settings.get("task", "unknown")), []).append(name)
    parts = []
    for task, members in tasks.items():
        of = f" of task {task}" if len(tasks) > 1 else ""
        if len(members) > charts.CURVES:
            more = len(members) - charts.CURVES
            left.append(f"curves of {more:,} runs{of} after the first {charts.CURVES}")
            members = members[: charts.CURVES]
        rows = {name: runs[name].rows for name in members}
        losses = {name: _against_step(rows[name]) for name in members}
        parts.append(charts.lines(losses, "step", f"training loss{of}"))
        for key in dict.fromkeys(k for name in members for k in rows[name][-1]):
            if key.endswith("_by_level"):
                what = key.removesuffix("_by_level")
                levels = {name: _against_level(rows[name], what, name, left) for name in members}
                drawn = {name: curve for name, curve in levels.items() if curve is not None}
                axis = "t (0: least noise, 1: most), mean of the last quarter of rows"
                parts.append(charts.lines(drawn, axis, f"{what}{of} by noise level"))
    return [part for part in parts if part] or [page.paragraph("No run has logged a loss yet.")]


def _against_step(rows: Sequence[Row]) -> charts.Curve:
    return np.array([r["step"] for r in rows], float), np.array([r["loss"] for r in rows], float)


def _against_level(
    rows: Sequence[Row], what: str, name: str, left: list[str]
) -> charts.Curve | None:
    """The middle of each noise level and the mean there; None where there are none."""
    try:
        mean = losses.level_means([row for row in rows if f"{what}_by_level" in row], what)
        return (np.arange(len(mean)) + 0.5) / max(len(mean), 1), mean
    except (ValueError, TypeError, IndexError) as error:
        left.append(f"{name}: {what} by noise level left out: {error}")
        return None


def pictures(runs: Mapping[str, Summary], left: list[str]) -> list[tuple[str, str, bytes]]:
    """(run, what it shows, PNG) of the runs with a picture, all within PICTURE_BYTES."""
    grids = {name: run.grid for name, run in runs.items() if run.grid}
    if len(grids) > PICTURES:
        left.append(f"pictures of {len(grids) - PICTURES:,} runs after the first {PICTURES}")
    shown = [*grids.items()][:PICTURES]
    found = []
    for name, path in shown:
        try:
            png = shrunk(path.read_bytes(), PICTURE_BYTES // max(len(shown), 5))
        except Exception as error:  # whatever a file holds, the report of the others goes on
            left.append(f"{name}: {path.parent.name}/{path.name} left out: {error}")
        else:
            found.append((name, f"{path.parent.name}/{path.stem}", png))
    return found
