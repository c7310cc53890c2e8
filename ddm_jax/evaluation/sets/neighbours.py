"""Fidelity and variety of samples, told apart by the balls that neighbours span."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ddm_jax.evaluation.sets.base import FeatureSet, check
from ddm_jax.evaluation.sets.pairs import blocks, squared_radii


@dataclass(frozen=True)
class _Neighbours:
    """The ball of an example reaches to its k-th nearest other example of the same set."""

    k: int
    of_classes: ClassVar[bool] = False
    of_asked: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError("needs k >= 1")

    def check(self, samples: FeatureSet, reference: FeatureSet) -> None:
        check(samples, reference, self.k + 1)


@dataclass(frozen=True)
class PrecisionRecall(_Neighbours):
    """The share of samples inside balls of the reference, and the reverse.

    Precision falls with samples that look like nothing known, recall with examples of the
    reference that no sample is like. Balls are closed. Kynkaanniemi et al. 2019, arXiv:1904.06991.
    """

    k: int = 3
    short: ClassVar[str] = "P/R"
    higher: ClassVar[bool] = True

    def compare(self, samples: FeatureSet, reference: FeatureSet, seed: int) -> dict[str, float]:
        self.check(samples, reference)
        real, drawn = reference.features, samples.features
        around_real, around_drawn = squared_radii(real, self.k), squared_radii(drawn, self.k)
        precise, recalled = np.zeros(len(drawn), bool), np.zeros(len(real), bool)
        for which, squared in blocks(drawn, real):
            precise[which] = (squared <= around_real).any(1)
            recalled |= (squared <= around_drawn[which, None]).any(0)
        return {"precision": float(precise.mean()), "recall": float(recalled.mean())}

    def lines(self, found: Mapping[str, float]) -> list[str]:
        return [f"precision {found['precision']:.4f}  recall {found['recall']:.4f}  (k = {self.k})"]


@dataclass(frozen=True)
class DensityCoverage(_Neighbours):
    """The balls of the reference that hold a sample over k, and the share that hold any.

    Density is 1 in the mean where the two distributions agree, and may be above 1; an outlier of
    the reference, whose ball is wide, adds little to it. Naeem et al. 2020, arXiv:2002.09797.
    """

    k: int = 5
    short: ClassVar[str] = "D/C"
    higher: ClassVar[bool] = True

    def compare(self, samples: FeatureSet, reference: FeatureSet, seed: int) -> dict[str, float]:
        self.check(samples, reference)
        real, drawn = reference.features, samples.features
        around, held, covered = squared_radii(real, self.k), 0, np.zeros(len(real), bool)
        for _, squared in blocks(drawn, real):
            inside = squared <= around
            held += int(inside.sum())
            covered |= inside.any(0)
        return {"density": held / (self.k * len(drawn)), "coverage": float(covered.mean())}

    def lines(self, found: Mapping[str, float]) -> list[str]:
        return [f"density {found['density']:.4f}  coverage {found['coverage']:.4f}  (k = {self.k})"]
