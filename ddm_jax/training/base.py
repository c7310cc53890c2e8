"""What a train step is given and asks: constants, the view of the state, and the task."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from jax import Array

from ddm_jax.diffusion.losses.base import Batch, Terms


class Constants(NamedTuple):
    """What no step changes, as arguments of the compiled program and never within it.

    pool: the examples of the whole data set (N, ...), where they are kept on the device, else None.
    borrowed: the weights of other runs, by the role that they play.
    """

    pool: Array | None
    borrowed: Mapping[str, Any]


class View(NamedTuple):
    """What a loss may see of the state besides its parameters: no gradient flows there."""

    step: Array  # () int32
    average: Any  # the averaged parameters
    memory: Any  # what the task remembers


class Task(Protocol):
    """How what the pipeline feeds becomes a loss."""

    def prepare(self, feed: Any, constants: Constants, key: Array) -> Batch:
        """Training examples, on the device; what is drawn depends on the key and on an example's
        place alone."""
        ...

    def loss(
        self, params: Any, batch: Batch, key: Array, *, borrowed: Mapping[str, Any], view: View
    ) -> Terms:
        """The terms of every example; draws depend on the key and on an example's place alone."""
        ...

    def remember(self, memory: Any, t: Array | None, loss: Array) -> Any:
        """The memory of the next step, from times and losses (B,) in the order of their places."""
        ...
