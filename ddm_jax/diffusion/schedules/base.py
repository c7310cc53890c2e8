"""What everything asks of a noise schedule, and what all of them have."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import OfTimes, Times


@runtime_checkable
class Rates(Protocol):
    """The rates of signal and noise; methods of times are elementwise and jittable."""

    @property
    def num_timesteps(self) -> int:
        """T: level i of T stands at t = i / (T - 1). All that count timesteps read it here."""
        ...

    def alpha(self, t: Times) -> OfTimes:
        """Signal rate."""
        ...

    def sigma(self, t: Times) -> OfTimes:
        """Noise rate."""
        ...

    def logsnr(self, t: Times) -> OfTimes:
        """2 log(alpha / sigma), strictly decreasing in t."""
        ...


@runtime_checkable
class Schedule(Rates, Protocol):
    """What everything asks of a noise schedule."""

    @property
    def zero_terminal(self) -> bool:
        """Whether the schedule was made to end without signal."""
        ...

    def time(self, logsnr: OfTimes) -> OfTimes:
        """The inverse of logsnr(t)."""
        ...

    def init_params(self, key: Array) -> Any:
        """Fresh parameters, () of a schedule that is not trained."""
        ...

    def with_params(self, params: Any) -> "Schedule":
        """The schedule with these parameters, which may be traced."""
        ...


MOST = 2**24  # of more timesteps neighbours are one number in float32


@dataclass(frozen=True)
class Fixed:
    """A schedule that is not trained; T is 1,000 unless it says otherwise, and at most 2^24."""

    num_timesteps: int = field(default=1000, kw_only=True)

    # Without an annotation, or it would take the first place among the fields of subclasses.
    zero_terminal = False

    def __post_init__(self):
        if not 2 <= self.num_timesteps <= MOST:
            raise ValueError(
                f"num_timesteps={self.num_timesteps} must be at least 2 and at most {MOST:,}, of "
                "which float32 still tells neighbours apart"
            )

    def init_params(self, key: Array) -> Any:
        """Nothing."""
        return ()

    def with_params(self, params: Any) -> "Fixed":
        """Itself."""
        return self


def signal_rate(logsnr: OfTimes) -> OfTimes:
    """sqrt(sigmoid(logsnr)): alpha where alpha^2 + sigma^2 = 1; sigma is that of -logsnr."""
    return jnp.sqrt(jax.nn.sigmoid(logsnr))


class VariancePreserving(Fixed, ABC):
    """A schedule with alpha^2 + sigma^2 = 1, given by its log-SNR."""

    @abstractmethod
    def logsnr(self, t: Times) -> OfTimes:
        """2 log(alpha / sigma), strictly decreasing in t."""

    def alpha(self, t: Times) -> OfTimes:
        return signal_rate(self.logsnr(t))

    def sigma(self, t: Times) -> OfTimes:
        return signal_rate(-self.logsnr(t))
