"""Standard output, where nobody may be reading it, and what threads say of their own."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def forget_output() -> None:
    """Let what is written to standard output go nowhere, since nobody reads it any longer."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


@contextmanager
def one_voice() -> Iterator[None]:
    """Within, threads of no Python function print no traceback: what fails is raised, and told.

    tensorstore's tell of everything that they cannot hand to a checkpoint which has failed already.
    """
    before = sys.unraisablehook

    def told(what: Any) -> None:
        if what.object is not None or threading.current_thread() is threading.main_thread():
            before(what)

    sys.unraisablehook = told
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextmanager
def told_every(
    seconds: float, say: Callable[[str], None], line: Callable[[float], str]
) -> Iterator[None]:
    """Within, `line(seconds since it began)` is said so often, while a long call says nothing."""
    began, over = time.monotonic(), threading.Event()

    def tell() -> None:
        while not over.wait(seconds):
            try:
                say(line(time.monotonic() - began))
            except OSError:  # nobody reads it, which the call itself finds out
                return

    teller = threading.Thread(target=tell, name="told_every", daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
