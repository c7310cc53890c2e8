"""Any number of runs on one page of HTML, and in a table of CSV beside it."""

import csv
import functools
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ddm_jax import files
from ddm_jax.errors import UserError
from ddm_jax.figures import page
from ddm_jax.figures.page import Cell, cell
from ddm_jax.verbs import parts, reading
from ddm_jax.verbs.measures import Flat, differing, label, protocols
from ddm_jax.verbs.reading import Summary

PROBLEMS = 200  # lines
TIME = "training time, s"

# Columns after the settings and the metrics: what a run tells of itself.
TOLD: Mapping[str, Callable[[Summary], Any]] = {
    "loss, mean of the last quarter of rows": lambda run: run.result.loss,
    "last loss": lambda run: run.rows[-1]["loss"] if run.rows else None,
    TIME: lambda run: run.result.seconds,
    "s/step, median": lambda run: run.result.seconds_per_step,
    "parameters": lambda run: run.parameters,
    "reason": lambda run: run.result.reason or None,
}


def report(workdirs: Sequence[Path], out: Path) -> None:
    """Write the page `out`, an .html, and the .csv beside it, of all runs in the folders.

    A folder is a run, a sweep, or a folder of such. UserError for one that has no run.
    """
    if out.suffix != ".html":
        raise UserError(f"--out {out} is no .html file; name one, as in --out reports/mine.html")
    problems: list[str] = []
    found: dict[Path, Path] = {}  # by where it really lies, so that each comes once
    for workdir in workdirs:
        inside = reading.find(workdir, problems)
        if not inside:
            why = f" ({problems[-1]})" if problems else ""
            raise UserError(f"no run in {workdir}{why}; train first, or name the folder of a run")
        for path in inside:
            found.setdefault(path.resolve(), path)
    runs = {name: reading.summary(found[path]) for path, name in names([*found]).items()}
    what = f"{len(runs)} run{'s' * (len(runs) != 1)}"
    write(f"Report of {what}", runs, out, problems=problems)
    print(f"wrote {out} and {out.with_suffix('.csv')}: {what}")


def names(folders: Sequence[Path]) -> dict[Path, str]:
    """What tells the runs in absolute folders apart: their paths below what they share."""
    shared = os.path.commonpath([folder.parent for folder in folders])
    return {folder: os.path.relpath(folder, shared) for folder in folders}


def write(
    title: str,
    runs: Mapping[str, Summary],
    out: Path,
    *,
    asked: Mapping[str, Flat] = MappingProxyType({}),
    problems: Sequence[str] = (),
) -> None:
    """Write the page and the CSV of runs by name.

    asked: settings of runs that are shown even where all agree, or where a run has not begun.
    problems: what else was left out.
    """
    left = [*problems]
    header, rows = table(runs, asked)
    sections = [
        page.section(
            "Runs", *parts.overview(runs), page.table(header, _cells(header, rows), "Runs")
        ),
        page.section("Metrics", *parts.metrics(runs, left)),
        page.section("Curves", *parts.curves(runs, left)),
        page.section("Samples", page.cards(parts.pictures(runs, left))),
    ]
    left += [f"{name}: {text}" for name, run in runs.items() for text in run.problems]
    if left:
        more = [f"and {len(left) - PROBLEMS:,} more"] if len(left) > PROBLEMS else []
        sections.append(page.section("Left out", page.listed(left[:PROBLEMS] + more)))
    texts = {out: page.document(title, sections), out.with_suffix(".csv"): as_csv(header, rows)}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            files.replace(path, functools.partial(Path.write_bytes, data=text.encode()))
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}; give another --out") from error


def table(
    runs: Mapping[str, Summary], asked: Mapping[str, Flat] = MappingProxyType({})
) -> tuple[list[str], list[list]]:
    """(header, rows) with a row a run: settings in which they differ, metrics, what runs tell.

    What was asked of any comes first of the settings. Of several numbers of one name and protocol
    the one at the highest step counts. Columns in which no run has a value are left out.
    """
    several = [*runs.values()]
    known = [run.settings for run in several if run.settings]
    settings = dict.fromkeys(key for one in asked.values() for key in one)
    settings |= dict.fromkeys(key for key in differing(known) if key != "task")
    values = [{**run.settings, **asked.get(name, {})} for name, run in runs.items()]
    known = protocols(measure for run in several for measure in run.measures)
    measured = [{label(m, known): m.value for m in run.measures} for run in several]
    metrics = sorted({name for found in measured for name in found})
    columns: list[tuple[str, list]] = [
        ("run", [*runs]),
        ("task", [run.settings.get("task") for run in several]),
        ("status", [run.result.status for run in several]),
        ("step", [run.result.step for run in several]),
        *((key, [_plain(one.get(key)) for one in values]) for key in settings),
        *((name, [found.get(name) for found in measured]) for name in metrics),
        *((name, [read(run) for run in several]) for name, read in TOLD.items()),
    ]
    kept = [column for column in columns if any(value is not None for value in column[1])]
    return [name for name, _ in kept], [[*row] for row in zip(*(v for _, v in kept), strict=True)]


def _plain(value: Any) -> Any:
    """A setting as a number or as text; None where the run does not read it."""
    plain = value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
    return value if plain else str(value)


def as_csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table as RFC 4180 has it. A text that a spreadsheet would run as a formula gets a quote."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerows([_harmless(value) for value in row] for row in [header, *rows])
    return page.whole(file.getvalue())


def _harmless(value: Any) -> Any:
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if formula else value


def _cells(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[list[Cell]]:
    clocks = [name == TIME for name in header]
    return [
        [_clock(value) if clock else cell(value) for value, clock in zip(row, clocks, strict=True)]
        for row in rows
    ]


def _clock(seconds: float | None) -> Cell:
    """Hours, minutes and seconds."""
    if seconds is None:
        return Cell("")
    minutes, rest = divmod(round(seconds), 60)
    return Cell(f"{minutes // 60}:{minutes % 60:02}:{rest:02}", seconds)
