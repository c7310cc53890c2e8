"""What a sweep has found, read from its cells' own files: a table, sweep.csv and sweep.html."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ddm_jax.figures.page import cell
from ddm_jax.verbs import reading, reporting
from ddm_jax.verbs.reading import Result


def write(cells: Mapping[Path, Mapping[str, Any]], folder: Path) -> list[Result]:
    """Write sweep.csv and sweep.html of the cells (folder: swept values), and print the table."""
    runs = {path.name: reading.summary(path) for path in cells}
    asked = {path.name: values for path, values in cells.items()}
    reporting.write(f"Sweep {folder.name}", runs, folder / "sweep.html", asked=asked)
    header, rows = reporting.table(runs, asked)
    told = {"status", "step", *reporting.TOLD}.union(*asked.values())
    shown = [k for k, name in enumerate(header) if name in told]
    _print([header[k] for k in shown], [[cell(row[k]).text for k in shown] for row in rows])
    return [run.result for run in runs.values()]


def _print(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in header:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
