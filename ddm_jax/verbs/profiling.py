"""Where the time of training steps goes: a trace by jax's profiler, and its dearest operations."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax

from ddm_jax.files import write_text

SKIPPED = 3  # first steps that are left out: one compiles, others fill what is kept ready
SHOWN = 10
AROUND = ("while", "call", "conditional")  # operations whose time is that of others within them


class Operation(NamedTuple):
    """An operation of a compiled program and its time on one device, in seconds a step."""

    name: str
    seconds: float


class Profile:
    """A trace of `count` steps after the first few, into the folder `profile`; of 0 steps, none.

    It holds the operations of devices and no calls of Python.
    """

    def __init__(self, workdir: Path, count: int, say: Callable[[str], None]):
        self.folder, self.count, self.say = workdir / "profile", count, say
        self.running, self.steps = False, -SKIPPED

    def due(self, taken: int) -> bool:
        """Whether the trace begins or ends now, that this process has taken so many steps."""
        self.steps = taken - SKIPPED
        return bool(self.count) and self.steps in (0, self.count)

    def turn(self) -> None:
        """Begin the trace, or end it and tell what it holds. No step may be on its way."""
        if self.running:
            return self.close()
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0
        shutil.rmtree(self.folder, ignore_errors=True)
        jax.profiler.start_trace(self.folder, profiler_options=options)
        self.running = True

    def close(self) -> None:
        """End a trace that has begun, and say so where none could."""
        if self.count and self.steps < 0:
            self.say(f"nothing is traced: the first {SKIPPED} steps of a process are left out")
        if not self.running:
            return
        self.running = False
        jax.profiler.stop_trace()
        (file,) = self.folder.rglob("*.xplane.pb")
        found = list(operations(file, self.steps)) if self.steps else []
        lines = told(found, self.steps)
        write_text(self.folder / "summary.txt", "\n".join(lines) + "\n")
        for line in lines:
            self.say(line)
        self.say(f"wrote {self.folder}; TensorBoard with the plugin xprof shows all of it")


def operations(file: Path, steps: int) -> Iterator[Operation]:
    """The operations that a trace of so many steps holds, on the mean device, dearest first."""
    seconds, devices = Counter(), set()
    for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
        for line in plane.lines:
            for event in line.events:
                about = dict(event.stats)
                name = str(about.get("hlo_op", ""))
                if name and not name.startswith(AROUND):
                    devices.add((plane.name, about.get("device_ordinal", 0)))
                    seconds[name] += event.duration_ns * 1e-9
    for name, total in seconds.most_common():
        yield Operation(name, total / steps / len(devices))


def told(found: list[Operation], steps: int) -> list[str]:
    """Lines on the dearest operations: share of the time of all, milliseconds a step, name."""
    total = sum(op.seconds for op in found)
    if not total:
        return [f"the trace of {steps} steps holds no operation of a device"]
    lines = [f"{steps} steps; operations of a device take {1e3 * total:,.1f} ms a step, of which"]
    for op in found[:SHOWN]:
        lines.append(f"{op.seconds / total:7.1%} {1e3 * op.seconds:10.2f} ms  {op.name}")
    return lines
