"""Where on [0, 1]: densities of training times, and grids of sampling times."""

from dataclasses import dataclass

import jax
import numpy as np
from jax import Array


@dataclass(frozen=True)
class Uniform:
    """t ~ U(0, 1), continuous."""

    def draw(self, keys: Array) -> Array:
        """One time for each key (B,) -> (B,)."""
        return jax.vmap(jax.random.uniform)(keys)


@dataclass(frozen=True)
class Discrete:
    """t uniform on the levels i / (T - 1), i = 0 .. T - 1. Ho et al. 2020, arXiv:2006.11239."""

    steps: int = 1000

    def __post_init__(self):
        if self.steps < 2:
            raise ValueError(f"steps={self.steps}: needs at least 2")

    def draw(self, keys: Array) -> Array:
        """One time for each key (B,) -> (B,)."""
        level = jax.vmap(lambda key: jax.random.randint(key, (), 0, self.steps))(keys)
        return level / (self.steps - 1)


TIMES = {"uniform": Uniform, "discrete": Discrete}


def _at_least_one(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"{steps} sampling steps; at least 1 is needed")


@dataclass(frozen=True)
class UniformGrid:
    """t_k = 1 - k / (n - 1): both ends, evenly spaced."""

    def times(self, schedule, steps: int) -> np.ndarray:
        """`steps` strictly decreasing times from 1, float32 (steps,)."""
        _at_least_one(steps)
        return np.linspace(1.0, 0.0, steps, dtype=np.float32)


@dataclass(frozen=True)
class TrailingGrid:
    """t_k = 1 - k / n: from the noisiest level in even strides, the last one stride above 0.

    Lin et al. 2023, arXiv:2305.08891, table 2.
    """

    def times(self, schedule, steps: int) -> np.ndarray:
        """`steps` strictly decreasing times from 1, float32 (steps,)."""
        _at_least_one(steps)
        return (1 - np.arange(steps) / steps).astype(np.float32)


@dataclass(frozen=True)
class QuadraticGrid:
    """t_k = (1 - k / (n - 1))^2: denser where there is little noise.

    Song et al. 2020, arXiv:2010.02502, appendix D.2 (there it starts at t = 0.8; here at 1,
    where x_t is noise).
    """

    def times(self, schedule, steps: int) -> np.ndarray:
        """`steps` strictly decreasing times from 1, float32 (steps,)."""
        _at_least_one(steps)
        return (np.linspace(1.0, 0.0, steps) ** 2).astype(np.float32)


GRIDS = {"uniform": UniformGrid, "trailing": TrailingGrid, "quadratic": QuadraticGrid}
