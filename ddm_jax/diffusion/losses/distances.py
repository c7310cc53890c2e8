"""Distances: the size of an error, which is averaged over the elements of an example."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array


@dataclass(frozen=True)
class L2:
    """e^2."""

    def __call__(self, e: Array) -> Array:
        return e**2


@dataclass(frozen=True)
class L1:
    """|e|."""

    def __call__(self, e: Array) -> Array:
        return abs(e)


@dataclass(frozen=True)
class Huber:
    """e^2 up to |e| = delta, delta (2 |e| - delta) beyond: twice the usual form, as L2 is.

    Huber 1964, doi:10.1214/aoms/1177703732.
    """

    delta: float = 1.0

    def __post_init__(self):
        if self.delta <= 0:
            raise ValueError("needs delta > 0")

    def __call__(self, e: Array) -> Array:
        near = jnp.minimum(abs(e), self.delta)
        return near * (2 * abs(e) - near)


DISTANCES = {"l2": L2, "l1": L1, "huber": Huber}
