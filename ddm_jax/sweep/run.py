"""Train the cells of a sweep: in local processes, or as jobs of a cluster."""

import ast
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ddm_jax import lock
from ddm_jax.errors import UserError
from ddm_jax.sweep import grid, report
from ddm_jax.sweep.plan import Cell, forgive, record, refusals
from ddm_jax.training import logs
from ddm_jax.verbs import reading

POLL = 0.1  # seconds between two looks at the processes
TELL = 60  # seconds without an event until the sweep says where its cells are
LAST_LINES = 20  # of a failed cell's output that go to error.txt


def end_with_input() -> None:
    """Take the end of standard input for SIGTERM, so that no run outlives a killed sweep."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def run_cells(cells: Sequence[Cell], workdir: Path, workers: int, command: Sequence[str]) -> int:
    """Train every cell that is not finished, `workers` at a time, each by `command` and its own.

    Returns 0, or 1 where a cell failed, or 128 + n after signal n, which is passed on.
    """
    if workers < 1:
        raise UserError(f"--sweep_workers={workers}: give 1 or more")
    with lock.locked(workdir):
        return _Sweep(cells, workers, command).run() or conclude(cells, workdir)


@dataclass
class _Running:
    cell: Cell
    process: subprocess.Popen
    log: IO[bytes]
    start: int  # of this attempt in the log
    began: float


class _Sweep:
    def __init__(self, cells: Sequence[Cell], workers: int, command: Sequence[str]):
        self.cells, self.workers, self.command = cells, workers, command
        self.running: list[_Running] = []
        self.signal, self.ended = 0, 0
        self.noted: list[int] = []
        self.spoke = time.monotonic()

    def run(self) -> int:
        waiting = ready(self.cells, self._say)
        self.ended = len(self.cells) - len(waiting)
        old = {n: signal.signal(n, self._note) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            while self.running or (waiting and not self.signal):
                if not self.signal:
                    self._fill(waiting)
                time.sleep(POLL)
                self._pass_on()
                self._reap()
                if time.monotonic() - self.spoke > TELL:
                    self._tell()
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
        if self.signal:
            self._say(f"stopped by signal {self.signal}; the same command goes on")
            return 128 + self.signal
        return 0

    def _say(self, line: str) -> None:
        print(line, flush=True)
        self.spoke = time.monotonic()

    def _fill(self, waiting: list[Cell]) -> None:
        """Start cells that no other process trains, as the orphan of a killed sweep may still."""
        for cell in list(waiting):
            if len(self.running) >= self.workers:
                return
            if not lock.busy(cell.workdir):
                waiting.remove(cell)
                if cell.finished:
                    self._end(cell, "finished by another process")
                else:
                    self._start(cell)

    def _start(self, cell: Cell) -> None:
        command = [*self.command, "--workdir", str(cell.workdir), *cell.arguments]
        cell.workdir.mkdir(parents=True, exist_ok=True)
        log = (cell.workdir / "log.txt").open("ab")
        start = log.tell()
        log.write(f"$ {shlex.join(command)}\n".encode())
        log.flush()
        process = subprocess.Popen(
            [*command, "--end_with_input"],
            stdin=subprocess.PIPE,  # its end tells the cell that the sweep is gone
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C comes once, through `_pass_on`
        )
        self.running.append(_Running(cell, process, log, start, time.monotonic()))
        self._say(f"start {cell.workdir.name}, output in {cell.workdir / 'log.txt'}")

    def _note(self, number: int, frame: Any) -> None:
        self.signal = number
        self.noted.append(number)

    def _pass_on(self) -> None:
        while self.noted:
            number = self.noted.pop(0)
            for one in self.running:
                one.process.send_signal(number)

    def _reap(self) -> None:
        for one in list(self.running):
            code = one.process.poll()
            if code is None:
                continue
            self.running.remove(one)
            if one.process.stdin is not None:
                one.process.stdin.close()
            one.log.close()
            took = time.strftime("%H:%M:%S", time.gmtime(time.monotonic() - one.began))
            if code == 0:
                forgive(one.cell)
                result = reading.result(one.cell.workdir)
                self._end(one.cell, f"finished, loss {result.loss:.4f}, {took}")
            elif not self.signal:
                ended = f"signal {-code}" if code < 0 else f"exit code {code}"
                output = (one.cell.workdir / "log.txt").read_bytes()[one.start :]
                last = output.decode(errors="replace").splitlines()[-LAST_LINES:]
                record(one.cell, "\n".join([f"{ended}: {last[-1]}", *last]))
                self._end(one.cell, f"failed, {ended}: {last[-1]}, {took}")

    def _end(self, cell: Cell, how: str) -> None:
        self.ended += 1
        self._say(f"{self.ended} of {len(self.cells)}: {cell.workdir.name} {how}")

    def _tell(self) -> None:
        for one in self.running:
            rows = logs.metrics(one.cell.workdir)
            at = f"step {rows[-1]['step']:,}, loss {rows[-1]['loss']:.4f}" if rows else "starting"
            self._say(f"  {one.cell.workdir.name}: {at}")
        if not self.running:
            self._say("  waiting for cells that another process trains")


def ready(cells: Sequence[Cell], say: Callable[[str], None]) -> list[Cell]:
    """The cells to train: neither finished nor refused, which is recorded."""
    left = [cell for cell in cells if not cell.finished]
    for cell in cells:
        if cell not in left:
            forgive(cell)
    say(f"{len(cells)} cells, {len(cells) - len(left)} of them finished before")
    refused = refusals(left)
    for cell in left:
        if cell.workdir in refused:
            reason = f"refused: {refused[cell.workdir]}"
            record(cell, reason)
            say(f"{cell.workdir.name} {reason}")
    return [cell for cell in left if cell.workdir not in refused]


def submit(
    cells: Sequence[Cell], workdir: Path, cluster: str, options: str, *, command: Sequence[str]
) -> int:
    """A job for each cell to train, `command --sweep_index k`, on submitit's `cluster`.

    On "local" it waits for them; on "slurm" it returns once they are queued.
    """
    try:
        import submitit  # pyright: ignore[reportMissingImports]  - of the extra slurm
    except ImportError as error:
        raise UserError('--sweep_submit needs submitit: pip install -e ".[slurm]"') from error
    try:
        executor = submitit.AutoExecutor(folder=workdir / "jobs", cluster=cluster)
        executor.update_parameters(**_options(options))
    except (RuntimeError, NameError, ValueError, TypeError, AssertionError) as error:
        text = " ".join(str(error).split())
        raise UserError(f"--sweep_submit {cluster} with {options!r}: {text}") from error
    todo = ready(cells, print)
    with executor.batch():
        jobs = [
            executor.submit(
                subprocess.run, [*command, "--sweep_index", str(cells.index(cell))], check=True
            )
            for cell in todo
        ]
    for cell, job in zip(todo, jobs, strict=True):
        print(f"job {job.job_id}: {cell.workdir.name}", flush=True)
    if cluster == "local":
        for k, (cell, job) in enumerate(zip(todo, jobs, strict=True)):
            job.wait()
            print(f"{k + 1} of {len(jobs)}: {cell.workdir.name} {job.state.lower()}", flush=True)
    return conclude(cells, workdir)


def _options(text: str) -> dict[str, Any]:
    options = {}
    for part in grid.split(text, text) if text else ():
        key, equals, value = part.partition("=")
        if not equals:
            raise UserError(f"--sweep_submit_options: {part!r} is no key=value")
        try:
            options[key.strip()] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[key.strip()] = value.strip()
    return options


def conclude(cells: Sequence[Cell], workdir: Path) -> int:
    """Write and print the table; 1 where a cell failed, else 0."""
    results = report.write({cell.workdir: cell.values for cell in cells}, workdir)
    print(f"wrote {workdir / 'sweep.csv'} and {workdir / 'sweep.html'}", flush=True)
    return int(any(result.status == "failed" for result in results))
