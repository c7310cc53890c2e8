"""The distance to move one set onto another, seen along lines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ddm_jax.evaluation.sets.base import FeatureSet, check

LINES = 32  # that are sorted at once


@dataclass(frozen=True)
class SlicedWasserstein:
    """(E_v W_2^2(x.v, y.v))^1/2 over directions v drawn evenly on the sphere by the seed.

    In the features' units; the move by a vector of length r costs about r / sqrt(d). On a line
    W_2^2 is the mean squared distance of equal quantiles. With the standard error of the draw of
    directions. Bonneel et al. 2015, doi:10.1007/s10851-014-0506-3.
    """

    directions: int = 256
    short: ClassVar[str] = "SWD"
    higher: ClassVar[bool] = False
    of_classes: ClassVar[bool] = False
    of_asked: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.directions < 2:
            raise ValueError("needs directions >= 2")

    def compare(self, samples: FeatureSet, reference: FeatureSet, seed: int) -> dict[str, float]:
        check(samples, reference, 1)
        x, y = (np.asarray(of.features, np.float64) for of in (samples, reference))
        along = directions(self.directions, x.shape[1], seed)
        squared = np.concatenate(
            [
                squared_on_lines(x @ some.T, y @ some.T)
                for some in np.split(along, range(LINES, len(along), LINES))
            ]
        )
        distance = float(np.sqrt(squared.mean()))
        error = float(squared.std(ddof=1) / np.sqrt(len(squared)))
        return {
            "sliced_wasserstein": distance,
            "standard_error": error / (2 * distance) if distance else 0.0,
        }

    def lines(self, found: Mapping[str, float]) -> list[str]:
        value, error = found["sliced_wasserstein"], found["standard_error"]
        return [f"{self.short} {value:.4f} +- {error:.4f} ({self.directions} directions)"]


def directions(count: int, width: int, seed: int) -> np.ndarray:
    """Unit vectors (count, width), evenly distributed on the sphere."""
    drawn = np.random.default_rng(seed).standard_normal((count, width))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def squared_on_lines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """W_2^2 (lines,) of the points x (n, lines) and y (m, lines), each of equal weight.

    Quantiles are constant between multiples of 1/n and 1/m. These cuts are counted in 1/(n m), as
    whole numbers, so that sets of any two sizes are compared exactly.
    """
    n, m = len(x), len(y)
    cuts = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    start, weight = cuts[:-1], np.diff(cuts) / (n * m)
    x, y = np.sort(x, axis=0), np.sort(y, axis=0)
    return weight @ (x[start // m] - y[start // n]) ** 2
