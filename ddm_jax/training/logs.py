"""What a run tells: metrics as JSON lines and TensorBoard events, progress on the terminal."""

import importlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ddm_jax import files
from ddm_jax.output import forget_output
from ddm_jax.training.step import LEVELS, Metrics


class MetricLog:
    """`metrics.jsonl`, the source of truth, and TensorBoard events beside it.

    Opened at step n it forgets what an interrupted run had logged beyond n.
    """

    def __init__(self, workdir: Path, step: int):
        self.path = workdir / "metrics.jsonl"
        kept = [row for row in metrics(workdir) if row["step"] <= step]
        files.write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = self.path.open("a")
        self._board = _Board(workdir / "tensorboard", step + 1)

    def write(self, row: dict[str, Any]) -> None:
        """One line; numbers go to TensorBoard too."""
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        numbers = {name: value for name, value in row.items() if isinstance(value, float)}
        self._board.write(numbers, row["step"])

    def close(self) -> None:
        with closing(self._board):
            self._file.close()


class _Board:
    """Events for TensorBoard, written at once: what cannot be written is raised.

    The thread of tensorboardX's own writer would end where a disk is full, and the run would then
    wait for it for ever. What was written of steps from `start` on is not shown any more.
    """

    def __init__(self, folder: Path, start: int):
        from tensorboardX.event_file_writer import EventsWriter

        folder.mkdir(exist_ok=True)
        self._forms: Any = importlib.import_module("tensorboardX.proto.event_pb2")  # has no types
        self._events = EventsWriter(str(folder / "events"))
        begin = self._forms.SessionLog(status=self._forms.SessionLog.START)
        self._add(step=start, session_log=begin)

    def write(self, numbers: dict[str, float], step: int) -> None:
        from tensorboardX.summary import scalar

        for name, value in numbers.items():
            self._add(step=step, summary=scalar(name, value))
        self._events.flush()

    def close(self) -> None:
        self._events.close()

    def _add(self, **what: Any) -> None:
        self._events.write_event(self._forms.Event(wall_time=time.time(), **what))


def read(path: Path) -> list[dict[str, Any]]:
    """The objects in a file of JSON lines; what is none, as a line cut short, is left out."""
    rows = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    return [row for row in rows if isinstance(row, dict)]


def metrics(workdir: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl, which have a step and a loss."""
    rows = read(workdir / "metrics.jsonl")
    return [
        row
        for row in rows
        if isinstance(row.get("step"), int) and isinstance(row.get("loss"), (int, float))
    ]


class Meter:
    """Means over the steps since the last reading, and images per second of working time."""

    def __init__(self, batch: int):
        self.batch = batch
        self._reset()

    def _reset(self) -> None:
        self.steps: list[Metrics] = []
        self._start = time.monotonic()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the time within, spent on something else than steps."""
        began = time.monotonic()
        yield
        self._start += time.monotonic() - began

    def add(self, metrics: Metrics) -> None:
        self.steps.append(metrics)

    def row(self, step: int, lr: float) -> dict[str, Any]:
        """The row for `step`; `<name>_by_level` has None where no example fell.

        A task without noise levels has none of these.
        """
        parts = self.steps[0].parts
        elapsed = max(time.monotonic() - self._start, 1e-9)
        row = {
            "step": step,
            "loss": float(np.mean([m.loss for m in self.steps])),
            "grad_norm": float(np.mean([m.grad_norm for m in self.steps])),
            "lr": lr,
            "images_per_s": len(self.steps) * self.batch / elapsed,
            **{name: float(np.mean([m.parts[name] for m in self.steps])) for name in parts},
            **_by_level(self.steps),
        }
        self._reset()
        return row


def _by_level(steps: Sequence[Metrics]) -> dict[str, list[float | None]]:
    if steps[0].level_sum is None:
        return {}
    count = np.sum([np.asarray(m.level_count) for m in steps], axis=0)

    def means(sums: list[Any]) -> list[float | None]:
        total = np.sum([np.asarray(s) for s in sums], axis=0)
        return [float(s / c) if c else None for s, c in zip(total, count, strict=True)]

    parts = {name: means([m.parts_by_level[name] for m in steps]) for name in steps[0].parts}
    means_of = {"loss": means([m.level_sum for m in steps]), **parts}
    return {f"{name}_by_level": row for name, row in means_of.items()}


def bad_level(metrics: Metrics) -> str:
    """Where on t a non-finite loss came from."""
    if metrics.level_sum is None:
        return "of a task without noise levels"
    bad = np.flatnonzero(~np.isfinite(metrics.level_sum))
    if not len(bad):
        return "in the gradient, at no single noise level"
    return "at noise level " + ", ".join(
        f"t in [{b / LEVELS:.1f}, {(b + 1) / LEVELS:.1f}]" for b in bad
    )


class Progress:
    """A live bar on a terminal, plain lines elsewhere; silent on all processes but the first.

    unheard: whether what was written did not arrive, as where a pipe or a terminal has gone. What
    follows goes nowhere then, and raises nothing.
    """

    def __init__(self, steps: int, quiet: bool = False):
        self.quiet, self.steps, self._bar, self.unheard = quiet, steps, None, False

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self.unheard = True
            forget_output()

    def begin(self, step: int) -> None:
        """Start the clock, and the bar where there is a terminal, at `step`."""
        self._first, self._began = step, time.monotonic()
        if self.quiet or not sys.stdout.isatty():
            self.say("compiling the train step")
            return
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("step {task.completed:,.0f}/{task.total:,.0f}"),
            BarColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
        )
        self._bar = Bar(*columns)
        self._task = self._bar.add_task("compiling", completed=step, total=self.steps)
        with self._written():
            self._bar.start()

    def advance(self, step: int, text: str | None = None) -> None:
        """Move the bar, where there is one, and put `text` beside it."""
        if self._bar:  # it draws itself, from a thread of its own
            self._bar.update(self._task, completed=step, description=text)

    def row(self, row: dict[str, Any]) -> None:
        """Show a metrics row."""
        text = f"loss {row['loss']:.4f}  {row['images_per_s']:,.0f} images/s"
        if self._bar:
            self.advance(row["step"], text)
        elif not self.quiet:
            done = max(row["step"] - self._first, 1)
            left = (time.monotonic() - self._began) / done * (self.steps - row["step"])
            clock = time.strftime("%H:%M:%S", time.gmtime(left))
            self.say(f"step {row['step']:,}/{self.steps:,}  {text}  {clock} left")

    def say(self, line: str) -> None:
        with self._written():
            if self._bar:
                self._bar.console.print(line, markup=False, highlight=False)
            elif not self.quiet:
                print(line, flush=True)

    def close(self) -> None:
        if self._bar:
            with self._written():
                self._bar.stop()
