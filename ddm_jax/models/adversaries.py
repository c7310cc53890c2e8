"""What reconstructions must pass beside the distance: the table of adversaries."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.models.layers import Conv, Norm


class Judged(NamedTuple):
    """What the loss gains (B,), and parts (B,) to log."""

    penalty: Array
    parts: Mapping[str, Array]


class Adversary(Protocol):
    """A row of ADVERSARIES: a frozen dataclass, whose methods are pure functions of arrays."""

    def check(self, space: tuple[int, ...]) -> None:
        """Raises ValueError where examples of size `space` cannot be judged."""
        ...

    def init(self, key: Array, shape: tuple[int, ...]) -> Any:
        """Fresh parameters for examples of this shape, () for none."""
        ...

    def judge(self, params: Any, x: Array, back: Array, step: Array) -> Judged:
        """Of examples x and their reconstructions (B, ...), before a step of training, () int32."""
        ...


@dataclass(frozen=True)
class NoAdversary:
    """None: the distance is all that counts."""

    def check(self, space: tuple[int, ...]) -> None:
        pass

    def init(self, key: Array, shape: tuple[int, ...]) -> Any:
        return ()

    def judge(self, params: Any, x: Array, back: Array, step: Array) -> Judged:
        return Judged(jnp.zeros(len(x)), {})


class Critic(nn.Module):
    """(B, *space, C) -> (B, *patches, 1), float32: convolutions that halve the size, and an opinion
    of what each position sees. Isola et al. 2016, arXiv:1611.07004, with GroupNorm."""

    channels: int
    halvings: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        h = x
        for level in range(self.halvings):
            h = Conv(self.channels * 2**level, stride=2, name=f"level{level}")(h)
            if level:
                h = Norm(name=f"norm{level}")(h)
            h = nn.leaky_relu(h, 0.2)
        h = Conv(self.channels * 2**self.halvings, name="middle")(h)
        h = nn.leaky_relu(Norm(name="norm_middle")(h), 0.2)
        return Conv(1, name="opinion")(h)


@dataclass(frozen=True)
class Patches:
    """A critic D of patches learns to tell examples x from reconstructions y, which please it.

    It gains mean(relu(1 - D(x)) + relu(1 + D(y))) for the critic, with y held, and for the
    autoencoder, with the critic held, -weight mean(D(y)); neither before the step `start`. Both
    learn in the same step. The weight is fixed, where that of Esser et al. 2020, arXiv:2012.09841,
    eq. 7, follows the gradients.
    """

    weight: float = 0.1
    start: int = 1000
    channels: int = 32
    halvings: int = 2

    def __post_init__(self):
        if self.weight <= 0:
            raise ValueError("needs weight > 0; adversary.name=none is without")
        if self.start < 0:
            raise ValueError(f"start={self.start} must be a step, 0 or later")
        if min(self.channels, self.halvings) < 1 or self.channels * 2**self.halvings > 2**14:
            raise ValueError(
                "channels and halvings must be at least 1, and channels 2^halvings at most 16,384"
            )

    def check(self, space: tuple[int, ...]) -> None:
        if not space or min(space) < 2 ** (self.halvings + 1):
            shape = "x".join(map(str, space))
            raise ValueError(
                f"of {shape or 'no'} positions {self.halvings} halvings leave no patches to tell "
                "apart; take fewer adversary.patches.halvings"
            )

    @property
    def critic(self) -> Critic:
        return Critic(self.channels, self.halvings)

    def init(self, key: Array, shape: tuple[int, ...]) -> Any:
        return jax.jit(self.critic.init)(key, jnp.zeros((1, *shape)))["params"]

    def judge(self, params: Any, x: Array, back: Array, step: Array) -> Judged:
        hold = jax.lax.stop_gradient

        def opinion(params: Any, x: Array) -> Array:
            seen: Any = self.critic.apply({"params": params}, x)
            return seen

        def mean(patches: Array) -> Array:
            return patches.mean(tuple(range(1, patches.ndim)))

        told = nn.relu(1 - opinion(params, x)), nn.relu(1 + opinion(params, hold(back)))
        critic, pleased = mean(told[0]) + mean(told[1]), mean(opinion(hold(params), back))
        active = (step >= self.start).astype(jnp.float32)
        penalty = active * (critic - self.weight * pleased)
        return Judged(penalty, {"critic": critic, "pleased": pleased})


ADVERSARIES = {"none": NoAdversary, "patches": Patches}
