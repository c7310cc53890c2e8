"""What a run tells while nobody may be listening."""

import os
import pty
import struct
import sys
import threading
import types

import pytest
from conftest import small_files
from tensorboardX.proto import event_pb2

from ddm_jax.output import one_voice
from ddm_jax.training.logs import MetricLog, Progress

ROW = {"step": 2, "loss": 0.5, "images_per_s": 9.0}


# The thread that draws the bar may be the first to notice.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("said", [True, False])
def test_a_bar_on_a_terminal_that_has_gone_is_unheard_and_raises_nothing(said, monkeypatch):
    master, slave = pty.openpty()
    progress = Progress(steps=9)
    with os.fdopen(slave, "w") as terminal, monkeypatch.context() as patched:
        patched.setenv("TERM", "xterm")
        patched.setattr(sys, "stdout", terminal)
        progress.begin(0)
        progress.advance(1)
        assert not progress.unheard
        os.close(master)
        if said:
            progress.say("a line")
            assert progress.unheard
            progress.row(ROW)
        progress.close()
    assert progress.unheard


def test_lines_that_cannot_be_written_are_unheard_and_what_follows_goes_nowhere(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    progress = Progress(steps=9)
    with os.fdopen(writer, "w") as output, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", output)
        progress.begin(0)
        assert progress.unheard
        progress.row(ROW)
        progress.say("a line")
        progress.close()


def events(folder):
    """What TensorBoard reads of a folder: length, sum of the length, event, sum of the event."""
    (path,) = folder.glob("events.out.tfevents.*")
    raw, found = path.read_bytes(), []
    while raw:
        (length,) = struct.unpack("Q", raw[:8])
        found.append(event_pb2.Event.FromString(raw[12 : 12 + length]))
        raw = raw[16 + length :]
    return found


def test_numbers_are_on_the_disk_for_tensorboard_once_a_row_is_written(tmp_path):
    log = MetricLog(tmp_path, step=1)
    log.write({**ROW, "loss_by_level": [0.1, None]})
    first, begin, *numbers = events(tmp_path / "tensorboard")
    assert first.file_version == "brain.Event:2"
    assert begin.step == 2 and begin.session_log.status == event_pb2.SessionLog.START
    values = {v.tag: (e.step, v.simple_value) for e in numbers for v in e.summary.value}
    assert values == {"loss": (2, 0.5), "images_per_s": (2, 9.0)}
    log.close()


def test_a_row_that_cannot_be_written_is_raised_and_waits_for_nobody(tmp_path):
    log = MetricLog(tmp_path, step=0)
    with small_files(2_000), pytest.raises(OSError, match="too large"):
        for _ in range(100):
            log.write(ROW)
    log.close()


def test_threads_of_libraries_print_nothing_and_what_callbacks_lose_is_told(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)

    def lose(of):
        sys.unraisablehook(types.SimpleNamespace(exc_type=RuntimeError, object=of))

    def lose_in_a_thread(of):
        thread = threading.Thread(target=lose, args=(of,))
        thread.start()
        thread.join()

    with one_voice():
        lose_in_a_thread(None)
        assert not told
        lose_in_a_thread("a callback")
        lose(None)
        assert [what.object for what in told] == ["a callback", None]
    lose_in_a_thread(None)
    assert len(told) == 3
