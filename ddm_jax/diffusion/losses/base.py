"""What losses are given and give: batches, parameters, terms."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jax import Array

from ddm_jax.diffusion.losses.time_samplers import Memory


class Batch(NamedTuple):
    """Examples x0 (B, ...), conditions (B,) int or None, and places (B,) in the whole batch."""

    x0: Array
    cond: Array | None
    place: Array


class Params(NamedTuple):
    """What is trained: parameters of the network, the schedule and the objective, () for none."""

    net: Any
    schedule: Any = ()
    objective: Any = ()


class Terms(NamedTuple):
    """Per-example loss (B,), the time (B,) at which it was taken, its factor (B,) in the mean."""

    loss: Array
    t: Array
    weight: Array


LossFn = Callable[[Params, Batch, Array, Memory], Terms]  # (params, batch, key, memory of times)
