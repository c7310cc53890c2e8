"""A thread beside a run that ends it where it stands still, or does not end when it is told to."""

import faulthandler
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

STALLED = 75  # the exit code of a run that stood still: EX_TEMPFAIL, so that it is started again
GRACE = 10.0  # seconds that a run has to save and end by itself


class Watchdog:
    """Ends the process after `timeout` seconds without a step, with exit code STALLED; 0: never.

    First it says so with the stacks of all threads and asks the run, by `stalled`, to save and end;
    one that cannot, since a device or a peer does not answer, it ends after GRACE seconds. So it
    does where one of the signals `heeded` has come and the run does not call `leaving` within GRACE
    seconds and two steps; the exit code is then 128 + the signal's number. The first step, which
    waits for a program to be compiled, does not say how long one takes.
    """

    def __init__(
        self, timeout: float, heeded: Collection[int], end: Callable[[int], None] = os._exit
    ):
        self.timeout, self.stalled, self._heeded, self._end = timeout, False, heeded, end
        self._at, self._pauses, self._leaving = time.monotonic(), 0, False
        self._compiled, self._longest = False, 0.0
        self._signals, self._noted = socket.socketpair()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self._noted.setblocking(False)
        self._old = signal.set_wakeup_fd(self._noted.fileno(), warn_on_full_buffer=False)
        self._at = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        signal.set_wakeup_fd(self._old)
        self._closed.set()
        self._noted.send(b"\0")  # wakes the thread
        self._thread.join()
        self._signals.close()
        self._noted.close()

    def step(self) -> None:
        """A step was taken."""
        now = time.monotonic()
        took = now - self._at if self._compiled else 0.0
        self._longest, self._at, self._compiled = max(self._longest, took), now, True

    def leaving(self) -> None:
        """The run knows that it is to end, and takes the time that this takes."""
        self._leaving = True

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done within is no step, and may take longer than one."""
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1
            self._at = time.monotonic()

    def _watch(self) -> None:
        while not self._closed.is_set():
            number = self._signal(self._left())
            if number in self._heeded:
                self._wait(GRACE + 2 * self._longest)
                self._finish(128 + number, f"signal {number} came, and the run does not end")
            elif self._left() == 0 and not self._closed.is_set():
                self.stalled = True
                _say(f"no step for {self.timeout:,.0f} s; the stacks of all threads are")
                faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
                self._wait(GRACE)
                self._finish(STALLED, "the run does not end by itself")
                return

    def _left(self) -> float | None:
        """Seconds until it has stood still for too long, None where it may."""
        if not self.timeout:
            return None
        if self._pauses:
            return self.timeout
        return max(0.0, self._at + self.timeout - time.monotonic())

    def _signal(self, seconds: float | None) -> int:
        """The number of a signal of any kind that comes within so many seconds, 0 for none."""
        self._signals.settimeout(seconds or 1e-3 if seconds is not None else None)
        try:
            return self._signals.recv(1)[0]
        except TimeoutError:
            return 0

    def _wait(self, seconds: float) -> None:
        """Until the run is closed or leaves, or so many seconds have passed."""
        until = time.monotonic() + seconds
        while not (self._leaving or self._closed.is_set()) and time.monotonic() < until:
            time.sleep(0.05)

    def _finish(self, code: int, reason: str) -> None:
        if not (self._leaving or self._closed.is_set()):
            _say(f"{reason}; what was saved last is whole, and the same command goes on from there")
            self._end(code)


def _say(line: str) -> None:
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:  # nobody reads it
        pass
