"""What everything asks of a noise schedule, and of parts with parameters of their own."""

from typing import Any, Protocol, runtime_checkable

from jax import Array


class Schedule(Protocol):
    """What everything asks of a noise schedule; all methods are elementwise and jittable."""

    def alpha(self, t: Array) -> Array:
        """Signal rate."""

    def sigma(self, t: Array) -> Array:
        """Noise rate."""

    def logsnr(self, t: Array) -> Array:
        """2 log(alpha / sigma), strictly decreasing in t."""

    def time(self, logsnr: Array) -> Array:
        """The inverse of logsnr(t)."""


@runtime_checkable
class Trainable(Protocol):
    """A part, such as a learned schedule, with parameters beside those of the network."""

    def init_params(self, key: Array) -> Any:
        """Fresh parameters."""

    def with_params(self, params: Any) -> Any:
        """The part with these parameters, which may be traced."""


def init_params(part: Any, key: Array) -> Any:
    """The fresh parameters of a part, () where it has none."""
    return part.init_params(key) if isinstance(part, Trainable) else ()


def with_params(part: Any, params: Any) -> Any:
    """The part with these parameters, itself where it has none."""
    return part.with_params(params) if isinstance(part, Trainable) else part
