"""The thread that ends a run which stands still, or does not end when it is told to."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from conftest import ROOT

from ddm_jax.training import watchdog
from ddm_jax.training.watchdog import STALLED, Watchdog

HEEDED = (signal.SIGTERM,)


@contextmanager
def handled(number, handler=lambda *_: None):
    """A signal has a handler of Python's, as in a run that heeds it."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.fixture
def ends(monkeypatch):
    """The codes with which a watchdog would have ended this process."""
    monkeypatch.setattr(watchdog, "GRACE", 1.0)
    return []


def wait(until, seconds=10.0):
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        time.sleep(0.01)
    return until()


def test_no_step_for_too_long_is_told_with_all_stacks_and_ends_the_process(ends, capfd):
    with Watchdog(0.3, HEEDED, ends.append) as dog:
        assert wait(lambda: dog.stalled) and not ends
        assert wait(lambda: ends == [STALLED])
    err = capfd.readouterr().err
    assert err.startswith("no step for 0 s; the stacks of all threads are\n")
    assert "in _watch" in err and "in wait" in err
    assert "what was saved last is whole" in err


def test_one_that_leaves_in_time_is_left_alone(ends, capfd):
    with Watchdog(0.2, HEEDED, ends.append) as dog:
        assert wait(lambda: dog.stalled)
        dog.leaving()
        time.sleep(1.5)
    assert not ends and "does not end" not in capfd.readouterr().err


def test_steps_and_pauses_are_no_standing_still(ends):
    with Watchdog(1.5, HEEDED, ends.append) as dog:
        for _ in range(10):
            time.sleep(0.2)
            dog.step()
        with dog.paused():
            time.sleep(2.0)
        time.sleep(0.2)
        assert not dog.stalled
        assert wait(lambda: dog.stalled)


@pytest.mark.parametrize("timeout", [0.0, 3600.0])
def test_a_signal_that_is_not_heeded_ends_the_process(timeout, ends, capfd):
    """As where the one thread that runs handlers waits for a device."""
    with handled(signal.SIGTERM), Watchdog(timeout, HEEDED, ends.append) as dog:
        os.kill(os.getpid(), signal.SIGTERM)
        assert wait(lambda: ends == [143]) and not dog.stalled
    assert "signal 15 came, and the run does not end" in capfd.readouterr().err
    with handled(signal.SIGTERM), Watchdog(timeout, HEEDED, ends.append) as dog:
        os.kill(os.getpid(), signal.SIGTERM)
        dog.leaving()
        time.sleep(1.5)
    assert ends == [143]


def test_other_signals_are_no_reason_to_end(ends):
    """A cluster's, say, that a program has a handler for."""
    came = []
    with handled(signal.SIGUSR2, lambda *_: came.append(1)), Watchdog(0.0, HEEDED, ends.append):
        os.kill(os.getpid(), signal.SIGUSR2)
        assert wait(lambda: came)
        time.sleep(1.5)
    assert not ends


def test_how_long_a_program_compiles_is_no_step(ends):
    with handled(signal.SIGTERM), Watchdog(0.0, HEEDED, ends.append) as dog:
        time.sleep(5.0)
        dog.step()
        began = time.monotonic()
        os.kill(os.getpid(), signal.SIGTERM)
        assert wait(lambda: ends == [143]) and time.monotonic() - began < 8.0


def test_a_run_has_two_of_its_longest_steps_to_heed_a_signal(ends):
    with handled(signal.SIGTERM), Watchdog(0.0, HEEDED, ends.append) as dog:
        dog.step()
        time.sleep(0.6)
        dog.step()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1.5)
        assert not ends
        assert wait(lambda: ends == [143])


def test_what_was_there_before_is_there_again(ends):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before, threads = signal.set_wakeup_fd(writer), threading.active_count()
    try:
        with Watchdog(0.0, HEEDED, ends.append):
            assert threading.active_count() == threads + 1
        assert signal.set_wakeup_fd(before) == writer
        assert threading.active_count() == threads and not ends
    finally:
        os.close(reader)
        os.close(writer)


def test_a_process_that_hangs_is_ended_whatever_it_waits_for():
    """A main thread within a lock runs no handler."""
    code = (
        "import signal, threading; from ddm_jax.training import watchdog as w; w.GRACE = 0.2\n"
        "with w.Watchdog(0.5, ()): signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); "
        "threading.Event().wait()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == STALLED and "in wait" in done.stderr


JOINING = """
import sys
from ddm_jax import command_line
from ddm_jax.training import processes
processes.JOIN = 3.0
sys.exit(command_line.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("process", [0, 1], ids=["coordinator", "other"])
def test_a_process_whose_peers_never_come_ends_in_a_line(process):
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]  # free, once it is closed
    command = [sys.executable, "-c", JOINING, "--config", "configs/quickstart.py"]
    command += ["--coordinator", f"localhost:{port}", "--processes", "2", "--process", str(process)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == STALLED
    assert "not all processes have come within 3 s" in done.stderr.splitlines()[-1]
