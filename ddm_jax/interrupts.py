"""Ctrl-C is heard wherever it comes, from the first line on."""

import _thread
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

INTERRUPTED = 130  # the exit code after Ctrl-C
AGAIN = 0.01  # seconds until a Ctrl-C that went unheard is sent again


def quietly() -> None:
    """Have Ctrl-C end the process at once, without a traceback: while modules are imported."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def heard() -> Iterator[None]:
    """Raise KeyboardInterrupt at Ctrl-C, and again where that is swallowed.

    What is raised within a callback of the garbage collector or within `__del__` goes nowhere: the
    interpreter tells `sys.unraisablehook` of it, and goes on.
    """
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    before = sys.unraisablehook

    def told(what: Any) -> None:
        if not issubclass(what.exc_type, KeyboardInterrupt):
            return before(what)
        again = threading.Timer(AGAIN, _thread.interrupt_main)
        again.daemon = True
        again.start()

    sys.unraisablehook = told
    try:
        yield
    finally:
        sys.unraisablehook = before


def leave(code: int) -> NoReturn:
    """End the process with an exit code.

    After Ctrl-C at once: threads of the runtime may compute on, which an interpreter that is taken
    apart under them ends with a segmentation fault.
    """
    if code == INTERRUPTED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
