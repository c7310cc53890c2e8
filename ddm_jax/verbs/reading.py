"""What a folder tells about a run, however broken its files are."""

import json
import os
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ddm_jax import files, runs
from ddm_jax.config.load import used
from ddm_jax.errors import UserError
from ddm_jax.figures.sounds import BESIDE
from ddm_jax.verbs import measures
from ddm_jax.verbs.measures import Measure, number, whole

# Any of them makes a run, as a config does.
MARKS = ("metrics.jsonl", "done.json", "error.txt", "evaluation/results.jsonl")
DEPTH = 3  # folders of folders that are looked through: runs, a sweep in it, its cells
Row = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Result:
    """How far a run is. status: finished, failed, partial, not started, or, where only samples of
    others were measured, measured.

    loss: the mean of the last quarter of rows. seconds: of training, by images/s.
    """

    status: str
    step: int
    steps: int
    loss: float | None
    seconds_per_step: float | None
    seconds: float | None
    reason: str


@dataclass(frozen=True)
class Summary:
    """All that a report says of a run. problems: what was left out and why, a line each.

    settings: those in use, by dotted key; empty where the run has no config that can be read.
    grid: the newest picture of its samples.
    """

    folder: Path
    result: Result
    settings: Mapping[str, Any]
    parameters: int | None
    rows: Sequence[Row]
    measures: Sequence[Measure]
    grid: Path | None
    problems: Sequence[str]


def find(folder: Path, problems: list[str], depth: int = DEPTH) -> list[Path]:
    """The runs in `folder`: itself, or those in its folders; the unreadable join `problems`."""
    try:
        if any((folder / mark).exists() for mark in MARKS) or _has_config(folder):
            return [folder]
        inside = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    except OSError as error:
        problems.append(f"{folder} left out: {error.strerror}")
        return []
    inside.sort(key=lambda path: _natural(path.name))
    return [run for path in inside for run in find(path, problems, depth - 1)] if depth else []


def _has_config(folder: Path) -> bool:
    """Whether a config.json is a run's, broken as it may be: other projects have such files too."""
    try:
        found = json.loads((folder / "config.json").read_text())
    except FileNotFoundError:
        return False
    except (ValueError, RecursionError):
        return True
    return not isinstance(found, dict) or bool({"task", "train"} & found.keys())


def _natural(text: str) -> list[tuple[bool, int, str]]:
    """An order in which 9 comes before 10."""
    parts = re.split(r"([0-9]+)", text)
    return [(k % 2 == 1, int(p) if k % 2 else 0, p) for k, p in enumerate(parts)]


def is_finished(folder: Path, steps: int) -> bool:
    """Whether training in `folder` came to its end at step `steps` or beyond, by its done.json.

    A run of a version that wrote none counts as partial; going on with it writes it at once.
    """
    return (whole(files.read_json(folder / "done.json").get("step")) or 0) >= steps


def result(folder: Path) -> Result:
    """The result of the run in `folder`: config.json, metrics.jsonl, done.json and error.txt."""
    return _result(folder, list(metrics(folder, [])))


def _result(folder: Path, rows: Sequence[Row]) -> Result:
    train = files.read_json(folder / "config.json").get("train")
    train = train if isinstance(train, dict) else {}
    steps, batch = whole(train.get("steps")) or 0, whole(train.get("batch")) or 0
    error = folder / "error.txt"
    lines = error.read_text(errors="replace").split("\n") if error.exists() else []
    if steps and is_finished(folder, steps):
        status, lines = "finished", []
    elif lines:
        status = "failed"
    else:
        begun = bool(rows) or (folder / "config.json").exists()
        others = (folder / "evaluation" / "results.jsonl").exists()
        status = "partial" if begun else "measured" if others else "not started"
    last = rows[-max(1, len(rows) // 4) :]
    rates = [number(row.get("images_per_s")) or 0 for row in rows]
    times = [batch / rate if rate > 0 else 0 for rate in rates]
    done = [0, *(row["step"] for row in rows)]
    spent = sum(time * (b - a) for time, a, b in zip(times, done, done[1:], strict=False))
    return Result(
        status,
        rows[-1]["step"] if rows else 0,
        steps,
        statistics.fmean(row["loss"] for row in last) if last else None,
        statistics.median(filter(None, times)) if any(times) else None,
        spent if any(times) else None,
        lines[0] if lines else "",
    )


def summary(folder: Path) -> Summary:
    """All that is known of the run in `folder`; what cannot be read is told in its problems."""
    problems: list[str] = []

    def attempt(what: str, read: Callable[[], T], default: T) -> T:
        try:
            return read()
        except Exception as error:  # whatever a folder holds, the report of the others goes on
            text = " ".join(str(error).split()).replace(f"{folder}{os.sep}", "")
            problems.append(f"{what} left out: {text or type(error).__name__}")
            return default

    unread = Result("unreadable", 0, 0, None, None, None, "")
    rows = attempt("metrics.jsonl", lambda: list(metrics(folder, problems)), [])
    done = attempt("done.json", lambda: files.read_json(folder / "done.json"), {})
    return Summary(
        folder,
        attempt("its end", lambda: _result(folder, rows), unread),
        attempt("config.json", lambda: _settings(folder, bool(rows)), {}),
        whole(done.get("parameters")),
        rows,
        attempt("evaluation", lambda: list(measured(folder, problems)), []),
        attempt("samples", lambda: newest_grid(folder), None),
        problems,
    )


def _settings(folder: Path, needed: bool) -> Mapping[str, Any]:
    if (folder / "config.json").exists():
        return used(runs.saved_config(folder))
    if needed:
        raise UserError("it is missing, so the settings are not known")
    return {}


def metrics(folder: Path, problems: list[str]) -> Iterator[Row]:
    """The rows of metrics.jsonl that have a step and a finite loss."""
    for where, row in _lines(folder / "metrics.jsonl", problems):
        fine = isinstance(row, dict) and whole(row.get("step")) is not None
        if fine and number(row.get("loss")) is not None:
            yield row
        else:
            problems.append(f"{where} left out: it has no step or no finite loss")


def measured(folder: Path, problems: list[str]) -> Iterator[Measure]:
    """The numbers of `--mode evaluate`, in its results.jsonl, oldest step first."""
    found = []
    for where, line in _lines(folder / "evaluation" / "results.jsonl", problems):
        try:
            found.append(measures.from_line(line))
        except ValueError as error:
            problems.append(f"{where} left out: {error}")
    yield from sorted(found, key=lambda measure: measure.step or 0)


def _lines(path: Path, problems: list[str]) -> Iterator[tuple[str, Any]]:
    """(where, value) of each line of JSON; broken ones are told."""
    text = path.read_text(errors="replace") if path.exists() else ""
    for k, line in enumerate(text.split("\n"), 1):
        where = f"{path.name}, line {k},"
        try:
            if line.strip():
                yield where, json.loads(line)
        except (ValueError, RecursionError):
            problems.append(f"{where} left out: it is no JSON")


def newest_grid(folder: Path) -> Path | None:
    """The picture of samples, of guesses or of reconstructions at the highest step, or None."""
    for kind in ("samples", "guesses", "reconstructions"):
        found = {}
        for path in (folder / kind).glob("step_*.png"):
            step = re.match(r"step_([0-9]+)", path.name)
            if step and "_film" not in path.name and BESIDE not in path.name:
                found[path] = (int(step[1]), path.stat().st_mtime_ns, path.name)
        if found:
            return max(found, key=lambda path: found[path])
    return None
