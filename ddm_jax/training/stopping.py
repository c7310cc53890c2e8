"""How a run learns that it is to stop."""

import signal
from types import FrameType
from typing import Any

from ddm_jax.training.layout import Layout, preempted


class Signals:
    """Remembers SIGTERM and Ctrl-C until the step at hand is done; a second Ctrl-C cuts short.

    With several processes the runtime takes SIGTERM and all processes agree on a step.
    """

    def __init__(self, layout: Layout):
        self.layout, self.number = layout, 0
        watched = (signal.SIGINT, signal.SIGTERM) if layout.processes == 1 else ()
        self._old: dict[int, Any] = {number: signal.getsignal(number) for number in watched}

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

    def seen(self, step: int) -> bool:
        """Whether to stop after `step`."""
        if preempted(self.layout, step):
            self.number = signal.SIGTERM
        return self.number != 0
