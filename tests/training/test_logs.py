"""What a run tells while nobody may be listening."""

import os
import pty
import sys

import pytest

from ddm_jax.training.logs import Progress

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
