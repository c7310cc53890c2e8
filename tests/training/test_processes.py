"""A process that has gone: what the others make of it, without starting any."""

import os

import jax
import pytest
from conftest import one_device

from ddm_jax import command_line
from ddm_jax.errors import PeerLost
from ddm_jax.training.layout import Layout
from ddm_jax.training.processes import answered
from ddm_jax.training.watchdog import STALLED


@pytest.mark.parametrize("kind", [ValueError, jax.errors.JaxRuntimeError])
def test_only_one_of_several_takes_an_error_for_a_peer_that_has_gone(kind):
    several = Layout(one_device().devices, 0, 2)
    with (
        pytest.raises(PeerLost, match="goes on from there .Connection closed.$"),
        answered(several),
    ):
        raise kind("Connection closed\nby the peer")
    with pytest.raises(kind, match="Connection closed"), answered(one_device()):
        raise kind("Connection closed")
    with pytest.raises(ZeroDivisionError), answered(several):
        raise ZeroDivisionError


def test_a_command_whose_peer_has_gone_ends_in_a_line_without_waiting(monkeypatch, capsys):
    """The end of an interpreter waits for all processes of a run; os._exit does not."""

    def run(*_):
        raise PeerLost("another process\nhas gone")

    class Left(BaseException):
        """The process is gone."""

    def left(code):
        raise Left(code)

    monkeypatch.setattr(command_line, "_run", run)
    monkeypatch.setattr(os, "_exit", left)
    with pytest.raises(Left) as ended:
        command_line.main(["--config", "configs/quickstart.py"])
    out, err = capsys.readouterr()
    assert ended.value.args == (STALLED,)
    assert out == "" and err.startswith("stopped: another process") and err.count("\n") == 1
