"""Several processes of one run: how they come together, agree, and notice that one has gone."""

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from ddm_jax.errors import PeerLost, RunError, UserError
from ddm_jax.training.layout import Layout
from ddm_jax.training.watchdog import STALLED

JOIN = 300.0  # seconds that processes wait for each other at the start


def share(layout: Layout, index: np.ndarray) -> np.ndarray:
    """This process's part of `index` (n,): parts are contiguous and equal, the last filled up."""
    size = -(-len(index) // layout.processes)
    return np.resize(index, layout.processes * size).reshape(layout.processes, size)[layout.process]


@contextmanager
def answered(layout: Layout) -> Iterator[None]:
    """Where all processes take part within: PeerLost where one of them has gone."""
    try:
        yield
    except (ValueError, jax.errors.JaxRuntimeError) as error:
        if layout.processes == 1:
            raise
        raise PeerLost(
            "another process of this run has gone; what was saved last is whole, and the same "
            f"command, on all of them, goes on from there ({str(error).splitlines()[0][:120]})"
        ) from error


def allgather(layout: Layout, tree: Any) -> Any:
    """Leaves (processes, n, ...) of every process's arrays (n, ...), on every process."""
    if layout.processes == 1:
        return jax.tree.map(lambda a: a[None], tree)
    with answered(layout):
        return multihost_utils.process_allgather(tree)


@contextmanager
def together(layout: Layout) -> Iterator[None]:
    """Where one process fails within, all of them raise: the others a RunError.

    So none waits for one that is gone; and none goes on before all have come to the end. Within, no
    process may wait for another.
    """
    fault = None
    try:
        yield
    except Exception as error:
        fault = error
    if allgather(layout, np.array([fault is not None])).any():
        raise fault or RunError("another process cannot go on, and says why")


def broadcast(layout: Layout, tree: Any) -> Any:
    """The first process's arrays, on every process."""
    if layout.processes == 1:
        return tree
    with answered(layout):
        return multihost_utils.broadcast_one_to_all(tree)


def preempted(layout: Layout, called: int) -> bool:
    """Whether all processes have agreed to stop after so many calls of the compiled program, of
    which none is left out, because one was told to end."""
    return layout.processes > 1 and multihost_utils.reached_preemption_sync_point(called)


@contextmanager
def _awaited() -> Iterator[None]:
    """Ends this process in a line where the others do not come within JOIN seconds.

    The runtime waits for them outside of Python, hears no Ctrl-C there, and would end with a stack.
    """

    def give_up() -> None:
        print(
            f"error: not all processes have come within {JOIN:.0f} s; start as many as --processes "
            "says, and see that each reaches the coordinator, which is process 0",
            file=sys.stderr,
            flush=True,
        )
        os._exit(STALLED)

    timer = threading.Timer(JOIN, give_up)
    timer.daemon = True
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)


def join_processes(
    auto: bool, coordinator: str | None, processes: int | None, process: int | None
) -> None:
    """Make this process one of several, before the first array; nothing to do for one alone."""
    given = (coordinator, processes, process)
    if any(g is not None for g in given):
        if coordinator is None or processes is None or process is None:
            raise UserError("--coordinator, --processes and --process go together")
        if not 0 <= process < processes:
            raise UserError(f"--process {process} of --processes {processes}: they count from 0")
        if not re.fullmatch(r".+:\d+", coordinator):
            raise UserError(f"--coordinator {coordinator} is no host:port, as in host0:1234")
        with _awaited():
            jax.distributed.initialize(
                coordinator, processes, process, initialization_timeout=int(2 * JOIN)
            )
    elif auto:
        try:
            with _awaited():
                jax.distributed.initialize(initialization_timeout=int(2 * JOIN))
        except ValueError as error:
            raise UserError(
                f"--distributed found no cluster ({error}); give --coordinator host:port, "
                "--processes and --process"
            ) from error
