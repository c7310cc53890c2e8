"""Devices and processes: how work is divided among them, and how they agree.

A step is a per-device pure function. On one device it is jitted; on several it is pmapped with
the state neither stacked nor split (`in_axes=None, out_axes=None`), so a state has the same shape
everywhere and can be saved or read as it is by every process.
"""

import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from ddm_jax.errors import RunError, UserError
from ddm_jax.training.watchdog import STALLED

AXIS = "devices"
JOIN = 300.0  # seconds that processes wait for each other at the start


@dataclass(frozen=True)
class Layout:
    """The devices of this process, and which of how many equal processes it is."""

    devices: tuple[Any, ...]  # of jax.Device, which jax declares as a variable
    process: int = 0
    processes: int = 1

    @property
    def count(self) -> int:
        """Devices of all processes together."""
        return len(self.devices) * self.processes

    @property
    def first(self) -> bool:
        """Whether this is the process that speaks and writes."""
        return self.process == 0

    def say(self, line: str) -> None:
        """Print a line, on the first process."""
        if self.first:
            print(line, flush=True)

    @property
    def axis(self) -> str | None:
        """The name to average over, None on one device."""
        return AXIS if self.count > 1 else None

    def compile(
        self,
        step: Callable,
        split: Sequence[bool],
        donate: int | None = None,
        stacked: bool = False,
    ) -> Callable:
        """`step` as one program over all devices.

        split: for each argument, whether its leaves come with a leading device axis (from `shard`)
        or are the same everywhere (from `replicate`). stacked: whether results keep a device axis
        (for `gather`). donate: the argument whose memory the result may take.
        """
        donated = () if donate is None else (donate,)
        if self.axis is None:
            return jax.jit(step, donate_argnums=donated)
        return jax.pmap(
            step,
            AXIS,
            in_axes=tuple(0 if s else None for s in split),
            out_axes=0 if stacked else None,
            donate_argnums=donated,
            devices=self.devices if self.processes == 1 else None,
        )

    def _sharding(self, *parts: str) -> Sharding:
        if self.axis is None:
            return SingleDeviceSharding(self.devices[0])
        return NamedSharding(Mesh(np.array(self.devices), (AXIS,)), PartitionSpec(*parts))

    def replicate(self, tree: Any) -> Any:
        """The same arrays on every device of this process."""
        return jax.device_put(tree, self._sharding())

    def shard(self, tree: Any) -> Any:
        """This process's part of a batch, leaves (n, ...), dealt to its devices in order."""
        if self.axis is not None:
            count = len(self.devices)
            tree = jax.tree.map(lambda a: a.reshape(count, -1, *a.shape[1:]), tree)
        return jax.device_put(tree, self._sharding(AXIS))

    def gather(self, tree: Any) -> Any:
        """Stacked results of a compiled step as one numpy batch, leaves (n, ...)."""
        tree = jax.device_get(tree)
        if self.axis is None:
            return tree
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), tree)

    def split_batch(self, size: int, accumulate: int = 1) -> int:
        """Examples per device and accumulated part; UserError where `size` does not divide."""
        if size < 1 or size % (self.count * accumulate):
            unit = self.count * accumulate
            raise UserError(
                f"train.batch={size} cannot be divided over {self.count} devices and "
                f"train.accumulate={accumulate}; take a multiple of {unit}"
            )
        return size // (self.count * accumulate)

    def check_room(self, size: int) -> None:
        """UserError where `size` bytes take more than half of a device's memory, if it says."""
        limit = (self.devices[0].memory_stats() or {}).get("bytes_limit")
        if limit and size > limit / 2:
            raise UserError(
                f"the data take {size / 2**30:.1f} GiB and a device has {limit / 2**30:.1f} GiB; "
                "leave data.on_device at False"
            )

    def describe(self) -> str:
        """`2 x cpu on 1 process(es)`."""
        return f"{self.count} x {self.devices[0].device_kind} on {self.processes} process(es)"


def all_devices() -> Layout:
    """All devices of all processes."""
    return Layout(tuple(jax.local_devices()), jax.process_index(), jax.process_count())


def alone(layout: Layout) -> Layout:
    """The devices of this process for work that other processes take no part in."""
    return Layout(layout.devices)


def share(layout: Layout, index: np.ndarray) -> np.ndarray:
    """This process's part of `index` (n,): parts are contiguous and equal, the last filled up."""
    size = -(-len(index) // layout.processes)
    return np.resize(index, layout.processes * size).reshape(layout.processes, size)[layout.process]


def allgather(layout: Layout, tree: Any) -> Any:
    """Leaves (processes, n, ...) of every process's arrays (n, ...), on every process."""
    if layout.processes == 1:
        return jax.tree.map(lambda a: a[None], tree)
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
    return tree if layout.processes == 1 else multihost_utils.broadcast_one_to_all(tree)


def preempted(layout: Layout, step: int) -> bool:
    """Whether all processes have agreed to stop at `step` because one was told to end."""
    return layout.processes > 1 and multihost_utils.reached_preemption_sync_point(step)


def leave_accelerators() -> None:
    """Compute on the host alone, so that other processes find the accelerators free.

    To be called before the first array; later it changes nothing.
    """
    jax.config.update("jax_platforms", "cpu")


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
