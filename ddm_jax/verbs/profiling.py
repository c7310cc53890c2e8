"""Where the time of training steps goes: a trace by jax's profiler, and its dearest operations."""

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from ddm_jax.files import write_text

SKIPPED = 3  # first steps that are left out: one compiles, others fill what is kept ready
SHOWN = 10
AROUND = ("while", "call", "conditional")  # operations whose time is that of others within them
ENDED = "end: "  # how events are called where an operation ends that is left to other threads


class Span(NamedTuple):
    """When a thread began an operation and left it, in ns, and the number that its end bears."""

    name: str
    start: float
    stop: float
    ident: int | None


class Operation(NamedTuple):
    """An operation of a compiled program and its time on one device, in seconds a step."""

    name: str
    seconds: float


class Profile:
    """A trace of `count` steps after the first few, into the folder `profile`; of 0 steps, none."""

    def __init__(self, workdir: Path, count: int, say: Callable[[str], None]):
        self.folder, self.count, self.say = workdir / "profile", count, say
        self.running, self.steps = False, 0
        self._first: int | None = None  # steps taken when it began

    def due(self, taken: int) -> bool:
        """Whether the trace begins or ends now, that this process has taken so many steps.

        Where a call takes several, it holds whole calls: so many that they are `count` steps or
        more.
        """
        if self._first is None:
            begins = self.count > 0 and taken >= SKIPPED
            self._first = taken if begins else None
            return begins
        before, self.steps = self.steps, taken - self._first
        return before < self.count <= self.steps

    def turn(self) -> None:
        """Begin the trace, or end it and tell what it holds. No step may be on its way."""
        if self.running:
            return self.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        begin(self.folder)
        self.running = True

    def close(self) -> None:
        """End a trace that has begun, and say so where none could."""
        if self.count and self._first is None:
            self.say(f"nothing is traced: the first {SKIPPED} steps of a process are left out")
        if not self.running:
            return
        self.running = False
        file = end(self.folder)
        found = list(operations(file, self.steps)) if self.steps else []
        lines = told(found, self.steps)
        write_text(self.folder / "summary.txt", "\n".join(lines) + "\n")
        for line in lines:
            self.say(line)
        self.say(f"wrote {self.folder}; TensorBoard with the plugin xprof shows all of it")


def begin(folder: Path) -> None:
    """Begin a trace of the operations of devices, without calls of Python."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    jax.profiler.start_trace(folder, profiler_options=options)


def end(folder: Path) -> Path:
    """End the trace that was begun into an empty folder; its file."""
    jax.profiler.stop_trace()
    (file,) = folder.rglob("*.xplane.pb")
    return file


def operations(file: Path, steps: int) -> Iterator[Operation]:
    """The operations that a trace of so many steps holds, on the mean device, dearest first.

    Where several of a device are under way at once, each has an equal share of that time: all
    together take the time in which the device has any.
    """
    spans, ends = defaultdict(list), {}
    for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
        for line in plane.lines:
            for event in line.events:
                about = dict(event.stats)
                name = str(about.get("hlo_op", ""))
                if event.name.startswith(ENDED):
                    ends[about.get("_c")] = event.start_ns
                elif name and not name.startswith(AROUND):
                    device = plane.name, about.get("device_ordinal", 0)
                    span = Span(name, event.start_ns, event.end_ns, about.get("_p"))
                    spans[device].append(span)
    seconds = Counter()
    for found in spans.values():
        stops = np.array([max(span.stop, ends.get(span.ident, 0.0)) for span in found])
        shares = shared(np.array([span.start for span in found]), stops)
        for span, share in zip(found, shares, strict=True):
            seconds[span.name] += share * 1e-9
    for name, total in seconds.most_common():
        yield Operation(name, total / steps / len(spans))


def shared(start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """What each of n spans has of the time that at least one covers, in equal shares of all that
    do: the integral of 1 / (how many cover t) from its start to its stop.
    """
    times, index = np.unique(np.concatenate([start, stop]), return_inverse=True)
    begun, ended = index[: len(start)], index[len(start) :]
    change = np.zeros(len(times))
    np.add.at(change, begun, 1)
    np.add.at(change, ended, -1)
    rate = 1 / np.maximum(np.cumsum(change)[:-1], 1)
    integral = np.concatenate([[0.0], np.cumsum(np.diff(times) * rate)])
    return integral[ended] - integral[begun]


def told(found: list[Operation], steps: int) -> list[str]:
    """Lines on the dearest operations: share of the time of all, milliseconds a step, name."""
    total = sum(op.seconds for op in found)
    if not total:
        return [f"the trace of {steps} steps holds no operation of a device"]
    lines = [f"{steps} steps; operations of a device take {1e3 * total:,.1f} ms a step, of which"]
    for op in found[:SHOWN]:
        lines.append(f"{op.seconds / total:7.1%} {1e3 * op.seconds:10.2f} ms  {op.name}")
    return lines
