"""Devices: how work is divided among them.

A step is a per-device pure function. On one device it is jitted; on several it is pmapped with
the state neither stacked nor split (`in_axes=None, out_axes=None`), so a state has the same shape
everywhere and can be saved or read as it is by every process.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from ddm_jax.errors import UserError
from ddm_jax.training.calls import Compiled, in_turn

AXIS = "devices"


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
    def apart(self) -> bool:
        """Whether other processes may have parts of a state that this one lacks."""
        return False

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

    def _sharding(self, *parts: str | tuple[str, ...]) -> Sharding:
        if self.axis is None:
            return SingleDeviceSharding(self.devices[0])
        return NamedSharding(Mesh(np.array(self.devices), (AXIS,)), PartitionSpec(*parts))

    def replicate(self, tree: Any) -> Any:
        """The same arrays on every device of this process."""
        return jax.device_put(tree, self._sharding())

    def make(self, init: Callable[[], Any]) -> Any:
        """The state that `init` gives, where `place` has it."""
        return self.place(jax.jit(init)())

    def place(self, state: Any) -> Any:
        """A state as training on these devices has it."""
        return self.replicate(state)

    def kept(self, state: Any) -> int:
        """The bytes of a state that each device keeps; the leaves may be shapes alone."""
        return sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(state))

    def whole(self, tree: Any) -> Any:
        """Arrays of such a state, each whole on every device of this process."""
        return tree

    def compiled_steps(
        self, make: Callable[..., Any], init: Callable[[], Any], accumulate: int = 1
    ) -> Compiled:
        """(state, feeds, constants, key) -> (state, the metrics of each feed), see `in_turn`; the
        state takes the old one's place.

        make: (through) -> the TrainStep, see `make_train_step`; init: () -> a state of its shapes.
        """
        steps = in_turn(make().whole(accumulate, self.axis))
        return self.compile(steps, (False, True, False, False), 0)

    def given(self, state: Any, feed: Any) -> tuple[Any, Any]:
        """The shapes of a state and of a whole batch as a compiled step takes them."""
        if self.axis is None:
            return state, feed
        n = self.count
        dealt = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct((n, len(a) // n, *a.shape[1:]), a.dtype), feed
        )
        return state, dealt

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

    def split_batch(self, size: int, accumulate: int = 1, shards: int = 0) -> int:
        """Examples that a device takes at a time; UserError where a batch does not divide so."""
        if shards % self.count:
            raise UserError(
                f"train.deterministic_shards={shards} cannot be dealt to {self.count} devices; "
                f"take a multiple of {self.count}"
            )
        unit = shards or self.count * accumulate
        if size < 1 or size % unit:
            parts = f"{self.count} devices and train.accumulate={accumulate}"
            if shards:
                parts = f"train.deterministic_shards={shards}"
            raise UserError(
                f"train.batch={size} cannot be divided over {parts}; take a multiple of {unit}"
            )
        return size // unit

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


def leave_accelerators() -> None:
    """Compute on the host alone, so that other processes find the accelerators free.

    To be called before the first array; later it changes nothing.
    """
    jax.config.update("jax_platforms", "cpu")
