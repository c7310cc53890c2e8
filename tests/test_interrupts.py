"""Ctrl-C ends a command wherever it comes."""

import gc
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from ddm_jax.interrupts import heard

FOR_EVER = """
import time
end = time.monotonic() + 60
while time.monotonic() < end:
    time.sleep(0.01)
"""


class Swallower:
    def __init__(self, error):
        self.error = error

    def __del__(self):
        raise self.error


def wait():
    """Until interrupted, or for so long that it never will be."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        time.sleep(0.01)


@pytest.fixture
def as_in_a_terminal():
    """Ctrl-C raises, though tests that a shell has put in the background would ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("as_in_a_terminal")
@pytest.mark.parametrize("where", ["__del__", "collector"])
def test_one_that_is_swallowed_comes_again(where):
    def callback(phase, info):
        gc.callbacks.remove(callback)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), heard():
        if where == "collector":
            gc.callbacks.append(callback)
            gc.collect()
        else:
            Swallower(KeyboardInterrupt())  # gone at once
        wait()
        pytest.fail("it was not heard")


def test_other_errors_that_are_swallowed_are_told_as_before(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append(what.exc_type))
    hook = sys.unraisablehook
    with heard():
        Swallower(ValueError())
    assert told == [ValueError] and sys.unraisablehook is hook


def started(code):
    """A process with Ctrl-C as a terminal gives it, though tests may run in the background."""
    first = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    command = [sys.executable, "-c", first + code]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, **pipe)


def test_while_modules_are_imported_it_ends_the_process_without_a_word():
    code = "from ddm_jax import interrupts\ninterrupts.quietly()\nprint('now', flush=True)\n"
    process = started(code + FOR_EVER)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (-signal.SIGINT, "")


def test_a_command_that_is_interrupted_says_so_in_a_line_and_leaves_at_once():
    """Though a thread of it goes on, as one of the runtime may."""
    code = (
        "import threading\nfrom ddm_jax import command_line, interrupts\n"
        f"def work(*_):\n    print('now', flush=True)\n    exec({FOR_EVER!r})\n"
        "threading.Thread(target=work).start()\n"
        "command_line._run = work\ninterrupts.quietly()\n"
        "interrupts.leave(command_line.main(['--config', 'x']))\n"
    )
    process = started(code)
    for _ in range(2):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "stopped by Ctrl-C\n")
