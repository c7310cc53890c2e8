"""Batches by number: batch k is a pure function of (seed, k), on any number of hosts.

The examples form one endless stream, epoch after epoch, each in an order of its own; batch k of
size B is the stretch [k B, (k + 1) B) of that stream. A host takes its part of the stretch.
"""

import functools
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.data.augments import NO_AUGMENT, Augment
from ddm_jax.data.dataset import Dataset

Feed = dict[str, np.ndarray]  # columns (B, ...) of a batch, as they travel to the device


@dataclass(frozen=True)
class Stretch:
    """Which examples of a set of `count` make up batch k of size `batch`, in what order."""

    count: int
    batch: int
    seed: int

    def indices(self, k: int) -> np.ndarray:
        """Indices (B,) into the data set of batch k."""
        position = self.positions(k)
        epoch, offset = np.divmod(position, self.count)
        index = np.empty(self.batch, np.int64)
        for e in np.unique(epoch):
            index[epoch == e] = _order(self.count, self.seed, int(e))[offset[epoch == e]]
        return index

    def positions(self, k: int) -> np.ndarray:
        """Places (B,) of batch k in the endless stream."""
        return k * self.batch + np.arange(self.batch)


@functools.lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)


def feed(
    data: Dataset,
    k: int,
    batch: int,
    seed: int,
    *,
    augment: Augment,
    by_index: bool,
    part: tuple[int, int] = (0, 1),
) -> Feed:
    """Part `part[0]` of `part[1]` equal parts of batch k.

    "x" are the examples, or "index", int32, where by_index says that the set is on the device;
    "place", int32, their places in the whole batch; what `augment` draws; and all other columns of
    numbers that the data have.
    """
    stretch = Stretch(data.spec.count, batch, seed)
    size = batch // part[1]
    mine = slice(part[0] * size, (part[0] + 1) * size)
    index = stretch.indices(k)[mine]
    fed = {"place": np.arange(batch, dtype=np.int32)[mine]}
    for name, column in data.columns.items():
        if column.dtype.kind != "U" and not (by_index and name == "x"):
            fed[name] = column[index]
    if by_index:
        fed["index"] = index.astype(np.int32)
    return fed | augment.draw(seed, stretch.positions(k)[mine])


def prefetch(
    make: Callable[[Any], Any],
    items: Iterable[Any],
    depth: int = 2,
    *,
    given_up: Callable[[], bool] = lambda: False,
) -> Generator[Any, None, None]:
    """`make` of each of the items in order, made `depth` ahead in a thread.

    It ends early where the one that is awaited has not come when `given_up` becomes true.
    """
    ready: queue.Queue = queue.Queue(maxsize=depth)
    ended = threading.Event()
    nothing = object()  # comes after the last

    def put(item: Any) -> None:
        while not ended.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put((make(item), None))
                if ended.is_set():
                    return
            put((nothing, None))
        except Exception as error:
            put((None, error))

    def awaited() -> tuple[Any, Exception | None] | None:
        while not given_up():
            try:
                return ready.get(timeout=0.1)
            except queue.Empty:
                continue
        return None

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while (found := awaited()) is not None:
            made, error = found
            if error is not None:
                raise error
            if made is nothing:
                return
            yield made
    finally:
        ended.set()
        thread.join(timeout=1.0)  # one that waits for data for ever is left behind


def prepare(
    part: Mapping[str, Any], pool: Array | None, augment: Augment = NO_AUGMENT
) -> dict[str, Array]:
    """The columns (B, ...) of a Feed on the device: x gathered from `pool` and augmented.

    pool: the column x (N, ...), where the Feed holds indices into it. A picture that comes with an
    example is changed as that is.
    """
    drawn = ("index", *augment.columns)
    columns = {name: jnp.asarray(v) for name, v in part.items() if name not in drawn}
    if pool is not None:
        columns["x"] = pool[part["index"]]
    alike = {name: augment.apply(columns[name], part) for name in ("x", "image") if name in columns}
    return {**columns, **alike}
