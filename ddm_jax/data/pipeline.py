"""Batches by number: batch k is a pure function of (seed, k), on any number of hosts.

The examples form one endless stream, epoch after epoch, each in an order of its own; batch k of
size B is the stretch [k B, (k + 1) B) of that stream. A host takes its part of the stretch.
"""

import functools
import queue
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.data.counter import uniform
from ddm_jax.data.dataset import Dataset, Spec
from ddm_jax.diffusion.losses.base import Batch

_FLIP_STREAM = 1


class Feed(NamedTuple):
    """What travels to the device for a batch: images, or their indices where the set is there."""

    image: np.ndarray  # uint8 (B, H, W, C), or int32 (B,) indices into the pool
    label: np.ndarray | None
    flip: np.ndarray  # bool (B,)
    place: np.ndarray  # int32 (B,), position in the whole batch


@dataclass(frozen=True)
class Stretch:
    """Which examples of a set of `count` make up batch k of size `batch`, in what order."""

    count: int
    batch: int
    seed: int

    def indices(self, k: int) -> np.ndarray:
        """Indices (B,) into the data set of batch k."""
        position = k * self.batch + np.arange(self.batch)
        epoch, offset = np.divmod(position, self.count)
        index = np.empty(self.batch, np.int64)
        for e in np.unique(epoch):
            index[epoch == e] = _order(self.count, self.seed, int(e))[offset[epoch == e]]
        return index

    def flips(self, k: int) -> np.ndarray:
        """A fair coin (B,) for each example of batch k."""
        return uniform(self.seed, _FLIP_STREAM, k * self.batch + np.arange(self.batch)) < 0.5


@functools.lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)


def feed(
    data: Dataset, k: int, batch: int, seed: int, flip: bool, by_index: bool, part=(0, 1)
) -> Feed:
    """Part `part[0]` of `part[1]` equal parts of batch k."""
    stretch = Stretch(len(data.images), batch, seed)
    size = batch // part[1]
    mine = slice(part[0] * size, (part[0] + 1) * size)
    index = stretch.indices(k)[mine]
    flips = stretch.flips(k)[mine] if flip else np.zeros(size, bool)
    return Feed(
        index.astype(np.int32) if by_index else data.images[index],
        None if data.labels is None else data.labels[index],
        flips,
        np.arange(batch, dtype=np.int32)[mine],
    )


def prefetch(
    make: Callable[[int], Any], start: int, stop: int, depth: int = 2
) -> Generator[Any, None, None]:
    """make(start), ..., make(stop - 1) in order, made `depth` ahead in a thread."""
    ready: queue.Queue = queue.Queue(maxsize=depth)
    ended = threading.Event()

    def put(item) -> None:
        while not ended.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for k in range(start, stop):
                put((make(k), None))
                if ended.is_set():
                    return
        except Exception as error:
            put((None, error))

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        for _ in range(start, stop):
            item, error = ready.get()
            if error is not None:
                raise error
            yield item
    finally:
        ended.set()
        thread.join()


@dataclass(frozen=True)
class Scaling:
    """x = (pixel / 255 - mean) / std per channel, and back to [0, 1] with clipping."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def encode(self, pixels: Array | np.ndarray) -> Array:
        """uint8 (..., C) -> float32."""
        x = jnp.asarray(pixels.astype(jnp.float32) / 255)
        return (x - jnp.asarray(self.mean, jnp.float32)) / jnp.asarray(self.std, jnp.float32)

    def decode(self, x: Array | np.ndarray) -> Array:
        """float32 (..., C) -> [0, 1]; nan for what is not finite, which no clipping may hide."""
        x = x * jnp.asarray(self.std, jnp.float32) + jnp.asarray(self.mean, jnp.float32)
        return jnp.where(jnp.isfinite(x), jnp.clip(x, 0.0, 1.0), jnp.nan)

    def limits(self) -> tuple[Array, Array]:
        """The images of pixel values 0 and 255, each (C,)."""
        ends = jnp.broadcast_to(jnp.array([[0], [255]]), (2, len(self.mean)))
        low, high = self.encode(ends)
        return low, high


def scaling_of(spec: Spec, kind: str) -> Scaling:
    """`unit`: pixels to [-1, 1]; `fitted`: to zero mean and unit variance by the data's own."""
    if kind == "fitted":
        return Scaling(spec.mean, spec.std)
    half = (0.5,) * spec.shape[-1]
    return Scaling(half, half)


def prepare(scaling: Scaling, part: Feed, pool: Array | None) -> Batch:
    """The training examples of a Feed, on the device: gathered from `pool`, flipped, scaled.

    pool: uint8 (N, H, W, C), or None where the Feed holds the images themselves.
    """
    pixels = part.image if pool is None else pool[part.image]
    flip = part.flip.reshape(-1, *(1,) * (pixels.ndim - 1))
    pixels = jnp.where(flip, jnp.flip(pixels, axis=-2), pixels)
    cond = None if part.label is None else jnp.asarray(part.label)
    return Batch(scaling.encode(pixels), cond, jnp.asarray(part.place))
