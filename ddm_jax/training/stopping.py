"""How a run learns that it is to stop."""

import signal
from collections.abc import Collection
from types import FrameType
from typing import Any

from ddm_jax.training.layout import Layout
from ddm_jax.training.processes import preempted


class Signals:
    """Remembers a signal to end until the step at hand is done; a second Ctrl-C cuts short.

    The signals are SIGTERM, Ctrl-C, and SIGHUP, which the end of a terminal sends, unless it is
    ignored, as under nohup. With several processes the runtime takes SIGTERM and all processes
    agree on a step.
    """

    def __init__(self, layout: Layout):
        self.layout, self.number = layout, 0
        hang_up = [signal.SIGHUP] * (signal.getsignal(signal.SIGHUP) != signal.SIG_IGN)
        watched = (signal.SIGINT, signal.SIGTERM, *hang_up) if layout.processes == 1 else ()
        self._old: dict[int, Any] = {number: signal.getsignal(number) for number in watched}

    @property
    def heeded(self) -> Collection[int]:
        """The signals that it remembers."""
        return self._old.keys()

    def __enter__(self) -> "Signals":
        for number in self._old:
            signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        if number == signal.SIGINT:  # a scheduler may send SIGTERM twice
            signal.signal(number, self._old[number])

    @property
    def pending(self) -> bool:
        """Whether one has come."""
        return self.number != 0

    def seen(self, called: int, unheard: bool = False) -> bool:
        """Whether to stop after so many calls of the compiled program.

        unheard: nobody reads what the run says any longer. A single process takes that for
        SIGPIPE; one of several goes on, since the others know nothing of it.
        """
        if preempted(self.layout, called):
            self.number = signal.SIGTERM
        if unheard and self.layout.processes == 1:
            self.number = self.number or signal.SIGPIPE
        return self.pending
