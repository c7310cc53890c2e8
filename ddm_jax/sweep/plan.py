"""The cells of a sweep as runs: checked at the door, listed, and marked where they fail."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddm_jax import borrowing, files, runs
from ddm_jax.config.load import call_file, leaves, overridden, override, used
from ddm_jax.config.tables import check_alone, data_options, read
from ddm_jax.data import sources
from ddm_jax.errors import UserError
from ddm_jax.sweep import grid
from ddm_jax.training.layout import all_devices, leave_accelerators
from ddm_jax.verbs import reading


@dataclass(frozen=True)
class Cell:
    """One run of a sweep. values: {dotted key: value}; arguments: all overrides of its command."""

    workdir: Path
    values: dict[str, Any]
    arguments: tuple[str, ...]
    config: Any
    steps: int

    @property
    def finished(self) -> bool:
        return reading.is_finished(self.workdir, self.steps)


def plan_cells(
    path: str, texts: Sequence[str], overrides: Sequence[str], workdir: Path
) -> list[Cell]:
    """The cells of the config `path` under every `--sweep` text, "" being the config's own sweep.

    Raises UserError for whatever is wrong with any of them.
    """
    base = read(path, overrides)
    axes = [grid.parse(text) if text else own_sweep(path) for text in texts]
    plain = set(overridden(overrides))
    planned: dict[Path, Cell] = {}
    seen: dict[str, Path] = {}
    for asked in grid.product(axes):
        for key in asked:
            if key in plain:
                raise UserError(f"{key} is swept and set by --config.{key}; leave one of them out")
        cell = _cell(base, asked, overrides, workdir)
        same = repr(sorted(used(cell.config).items()))
        if same in seen:
            raise UserError(
                f"cells {seen[same].name} and {cell.workdir.name} are the same run; leave one out, "
                'or zip the keys that belong together: --sweep "(key,key)=(a,b),(c,d)"'
            )
        seen[same] = cell.workdir
        planned[cell.workdir] = cell
    for cell in planned.values():
        runs.check_same(cell.config, cell.workdir)
    return list(planned.values())


def own_sweep(path: str) -> grid.Cells:
    """The cells that a Python config asks for by `sweep()` or `get_hyper(h)`."""
    name, _, _ = path.partition(":")
    if Path(name).suffix != ".py":
        raise UserError(f"{path} has no sweep of its own; write --sweep key=a,b")
    found = call_file(path, {"sweep": (), "get_hyper": (grid.Hyper,)})
    if not isinstance(found, list) or not all(isinstance(cell, dict) for cell in found):
        raise UserError(f"the sweep of {path} must be a list of dicts {{dotted key: value}}")
    if not found:
        raise UserError(f"the sweep of {path} is empty; return at least one dict")
    return grid.chain([grid.product([grid.sweep(k, [v]) for k, v in c.items()]) for c in found])


def _cell(base: Any, asked: dict[str, Any], overrides: Sequence[str], workdir: Path) -> Cell:
    try:
        texts = [f"--config.{key}={grid.as_text(value)}" for key, value in asked.items()]
        config = override(base, texts)
        check_alone(config)
    except UserError as error:
        raise UserError(f"--sweep: {error}") from error
    known = dict(leaves(config))
    values = {key: known[key] for key in asked}
    own = [f"--config.{key}={grid.as_text(value)}" for key, value in values.items()]
    folder = workdir / grid.name(values, list(known))
    return Cell(folder, values, (*overrides, *own), config, known["train.steps"])


def refusals(cells: Sequence[Cell]) -> dict[Path, str]:
    """Why cells cannot work, by their folders; the data are loaded, no accelerator is touched."""
    leave_accelerators()
    loaded, refused = {}, {}
    for cell in cells:
        try:
            options = data_options(cell.config)
            if options not in loaded:
                loaded[options] = sources.load(options)
            spec = borrowing.taught(cell.config, loaded[options], cell.workdir).spec
            borrowing.assembled(cell.config, spec, cell.workdir, training=True)
        except UserError as error:
            refused[cell.workdir] = str(error)
    return refused


def describe(cells: Sequence[Cell]) -> None:
    """Print every cell's index, folder, overrides and state."""
    refused = refusals(cells)
    for k, cell in enumerate(cells):
        reason = refused.get(cell.workdir)
        state = f"refused: {reason}" if reason else reading.result(cell.workdir).status
        print(f"{k}  {cell.workdir}  {shlex.join(cell.arguments)}  ({state})")
    print(f"{len(cells)} cells, {len(refused)} refused")


def pick(cells: Sequence[Cell], index: int) -> Cell:
    """Cell `index`, from 0."""
    if not 0 <= index < len(cells):
        raise UserError(f"--sweep_index={index}: the sweep has cells 0 to {len(cells) - 1}")
    return cells[index]


@contextmanager
def recorded(cell: Cell) -> Iterator[None]:
    """Around a cell that trains in this process: error.txt holds what ended it, or goes."""
    first = all_devices().first
    try:
        yield
    except Exception as error:
        if first:
            record(cell, f"{type(error).__name__}: {error}")
        raise
    if first and cell.finished:
        forgive(cell)


def record(cell: Cell, text: str) -> None:
    """Write why a cell failed to its error.txt."""
    cell.workdir.mkdir(parents=True, exist_ok=True)
    files.write_text(cell.workdir / "error.txt", text + "\n")


def forgive(cell: Cell) -> None:
    """Remove error.txt, after an attempt that succeeded."""
    (cell.workdir / "error.txt").unlink(missing_ok=True)
