"""What a sweep has found, read from its cells' own files: a table, sweep.csv and sweep.html."""

import csv
import html
import io
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ddm_jax import files
from ddm_jax.training import logs

HEADER = {
    "status": "status",
    "step": "step",
    "loss": "loss, mean of the last quarter of rows",
    "seconds_per_step": "s/step, median",
    "reason": "reason",
}
_STYLE = """
body { font: 14px sans-serif; margin: 2em; }
table { border-collapse: collapse; } td, th { padding: 0.2em 0.8em; text-align: left; }
tr:nth-child(even) { background: #f2f2f2; }
.cells { display: flex; flex-wrap: wrap; gap: 1em; margin-top: 2em; }
.cell { border: 1px solid #ccc; padding: 1em; width: 22em; }
.cell h2 { font-size: 1em; overflow-wrap: anywhere; margin: 0; } .cell img { width: 100%; }
.failed { color: #a00; }
"""


@dataclass(frozen=True)
class Result:
    """How far one cell is. status: finished, failed, partial or not started."""

    status: str
    step: int
    steps: int
    loss: float | None
    seconds_per_step: float | None
    reason: str


def is_finished(folder: Path, steps: int) -> bool:
    """Whether training in `folder` came to its end at step `steps` or beyond, by its done.json.

    A run of a version that wrote none counts as partial; going on with it writes it at once.
    """
    return files.read_json(folder / "done.json").get("step", 0) >= steps


def read(folder: Path) -> Result:
    """The result of the run in `folder`: config.json, metrics.jsonl, done.json and error.txt."""
    rows = logs.read(folder / "metrics.jsonl")
    train = files.read_json(folder / "config.json").get("train", {})
    steps, batch = train.get("steps", 0), train.get("batch", 0)
    error = folder / "error.txt"
    lines = error.read_text(errors="replace").split("\n") if error.exists() else []
    if steps and is_finished(folder, steps):
        status, lines = "finished", []
    elif lines:
        status = "failed"
    else:
        status = "partial" if (folder / "config.json").exists() else "not started"
    last = rows[-max(1, len(rows) // 4) :]
    times = [batch / row["images_per_s"] for row in rows if row.get("images_per_s")]
    return Result(
        status,
        rows[-1]["step"] if rows else 0,
        steps,
        statistics.fmean(row["loss"] for row in last) if last else None,
        statistics.median(times) if times else None,
        lines[0] if lines else "",
    )


def write(cells: Mapping[Path, Mapping[str, Any]], folder: Path) -> list[Result]:
    """Write sweep.csv and sweep.html of the cells (folder: swept values), and print the table."""
    keys = list(dict.fromkeys(key for values in cells.values() for key in values))
    results = [read(path) for path in cells]
    rows = [
        [path.name, *(str(values.get(key, "")) for key in keys), *_texts(result)]
        for (path, values), result in zip(cells.items(), results, strict=True)
    ]
    header = ["cell", *keys, *HEADER.values()]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    files.write_text(folder / "sweep.csv", text.getvalue())
    files.write_text(folder / "sweep.html", page(cells, results, folder, header, rows))
    _print(header, rows)
    return results


def page(
    cells: Mapping[Path, Mapping[str, Any]],
    results: Sequence[Result],
    folder: Path,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> str:
    """The table and a card for every cell, with its last sample grid and its loss curve."""
    lines = ["".join(f"<th>{html.escape(name)}</th>" for name in header)]
    lines += ["".join(f"<td>{html.escape(text)}</td>" for text in row) for row in rows]
    table = "\n".join(f"<tr>{line}</tr>" for line in lines)
    cards = "\n".join(
        _card(path, values, result, folder)
        for (path, values), result in zip(cells.items(), results, strict=True)
    )
    title = html.escape(f"Sweep {folder.name}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>{title}</h1>\n<table>\n{table}\n</table>\n"
        f'<div class="cells">\n{cards}\n</div>\n</body></html>\n'
    )


def _card(path: Path, values: Mapping[str, Any], result: Result, folder: Path) -> str:
    name = html.escape(", ".join(f"{k}={v}" for k, v in values.items()) or path.name)
    loss = "" if result.loss is None else f", loss {result.loss:.5g}"
    state = html.escape(f"{result.status}, step {result.step:,}{loss}")
    parts = [f"<h2>{name}</h2>", f'<p class="{result.status.replace(" ", "_")}">{state}</p>']
    if result.reason:
        parts.append(f"<p>{html.escape(result.reason)}</p>")
    grids = sorted((path / "samples").glob("step_*.png"), key=lambda p: (len(p.name), p.name))
    drawn = [p for p in grids if p.stem.removeprefix("step_").isdigit()]
    for picture, what in (*((p, "samples") for p in drawn[-1:]), (path / "loss.png", "loss")):
        if picture.exists():
            link = html.escape(quote(os.path.relpath(picture, folder)))
            parts.append(f'<a href="{link}"><img src="{link}" alt="{what} of {name}"></a>')
    return f'<div class="cell">{"".join(parts)}</div>'


def _texts(result: Result) -> list[str]:
    numbers = (result.loss, result.seconds_per_step)
    shown = ["" if number is None else f"{number:.5g}" for number in numbers]
    return [result.status, str(result.step), *shown, result.reason]


def _print(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in header[1:]:  # the cell's name repeats the swept values
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row[1:]))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
