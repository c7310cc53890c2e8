"""Squared distances of two distributions in the space of a kernel, unbiased: below zero at times.

MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y), with means over pairs of different examples.
Gretton et al. 2012, A kernel two-sample test, Journal of Machine Learning Research 13.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ddm_jax.evaluation.sets.base import FeatureSet, Moments, check, in_fixed_order
from ddm_jax.evaluation.sets.pairs import blocks


@dataclass(frozen=True)
class Kid:
    """MMD^2 of the kernel (x.y / d + 1)^3: the mean and standard deviation over subsets.

    subsets: how many are drawn. subset_size: examples of each set in one, drawn without
    replacement; all of the smaller set where that has fewer, and one subset where neither has more.
    Binkowski et al. 2018, arXiv:1801.01401.
    """

    subsets: int = 100
    subset_size: int = 1000
    short: ClassVar[str] = "KID"
    higher: ClassVar[bool] = False
    of_classes: ClassVar[bool] = False
    of_asked: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.subsets < 1 or self.subset_size < 2:
            raise ValueError("needs subsets >= 1 and subset_size >= 2")

    def compare(self, samples: FeatureSet, reference: FeatureSet, seed: int) -> dict[str, float]:
        check(samples, reference, 2)
        sets = [in_fixed_order(of.features) for of in (samples, reference)]
        size = min(self.subset_size, *map(len, sets))
        subsets = self.subsets if max(map(len, sets)) > size else 1
        draw = np.random.default_rng(seed)
        found = np.empty(subsets)
        for place in range(subsets):
            x, y = (rows[draw.choice(len(rows), size, replace=False)] for rows in sets)
            found[place] = cubic_mmd(x, y)
        return {
            "kid": float(found.mean()),
            "deviation": float(found.std()),
            "subsets": float(subsets),
            "subset_size": float(size),
        }

    def lines(self, found: Mapping[str, float]) -> list[str]:
        of = f"{found['subsets']:.0f} subsets of {found['subset_size']:.0f}"
        return [f"{self.short} {found['kid']:.6f} +- {found['deviation']:.6f} ({of})"]


@dataclass(frozen=True)
class Mmd:
    """MMD^2 of the kernel exp(-|x - y|^2 / (2 bandwidth^2)), of all pairs.

    bandwidth: in the features' units; 0 for that of the reference, whose square is the trace of
    its covariance: half the mean squared distance of two of its examples.
    """

    bandwidth: float = 0.0
    short: ClassVar[str] = "MMD"
    higher: ClassVar[bool] = False
    of_classes: ClassVar[bool] = False
    of_asked: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.bandwidth < 0:
            raise ValueError("needs bandwidth >= 0, 0 for that of the reference")

    def compare(self, samples: FeatureSet, reference: FeatureSet, seed: int) -> dict[str, float]:
        check(samples, reference, 2)
        x, y = samples.features, reference.features
        width = self.bandwidth or float(np.sqrt(np.trace(Moments.of(y).covariance)))
        if width == 0:
            raise ValueError("all examples of the reference are the same: set the bandwidth")
        within = sum((gaussian_sum(z, z, width) - len(z)) / (len(z) * (len(z) - 1)) for z in (x, y))
        between = gaussian_sum(x, y, width) / (len(x) * len(y))
        return {"mmd_squared": within - 2 * between, "bandwidth": width}

    def lines(self, found: Mapping[str, float]) -> list[str]:
        value, width = found["mmd_squared"], found["bandwidth"]
        return [f"{self.short}^2 {value:.6f} (Gaussian kernel, bandwidth {width:.4g})"]


def cubic_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased MMD^2 of KID's kernel between rows x (n, d) and y (m, d)."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)

    def mean_within(rows: np.ndarray) -> float:
        kernel, count = _cubic(rows, rows), len(rows)
        return float((kernel.sum() - np.trace(kernel)) / (count * (count - 1)))

    return mean_within(x) + mean_within(y) - 2 * float(_cubic(x, y).mean())


def _cubic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    base = x @ y.T / x.shape[1] + 1
    return base * base * base


def gaussian_sum(x: np.ndarray, y: np.ndarray, width: float) -> float:
    """The sum of exp(-|x_i - y_j|^2 / (2 width^2)) over all pairs of rows."""
    return float(sum(np.exp(-squared / (2 * width**2)).sum() for _, squared in blocks(x, y)))
