"""The Frechet distance between the Gaussians that two sets of features are taken for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from ddm_jax.evaluation.sets.base import FeatureSet, Moments, check

ROUNDING = 1e-6  # of the largest eigenvalue: published covariances may come from float32


class Gaussian(NamedTuple):
    """Mean (d,), trace of the covariance S, and a factor (r, d) with factor^T factor = S."""

    mean: np.ndarray
    trace: float
    factor: np.ndarray


@dataclass(frozen=True)
class Frechet:
    """|mu_1 - mu_2|^2 + tr S_1 + tr S_2 - 2 tr (S_1^1/2 S_2 S_1^1/2)^1/2.

    Zero where the moments agree, in squared units of the features. It falls with the number of
    examples: compare numbers of equal counts only. Dowson & Landau 1982,
    doi:10.1016/0047-259X(82)90077-X; of generated images, Heusel et al. 2017, arXiv:1706.08500.
    """

    short: ClassVar[str] = "FD"
    higher: ClassVar[bool] = False
    of_classes: ClassVar[bool] = False
    of_asked: ClassVar[bool] = False

    def compare(self, samples: FeatureSet, reference: FeatureSet, seed: int) -> dict[str, float]:
        check(samples, reference, 2)
        return frechet(of_rows(samples.features), of_rows(reference.features))

    def lines(self, found: Mapping[str, float]) -> list[str]:
        parts = f"means {found['of_means']:.4f}, covariances {found['of_covariances']:.4f}"
        return [f"{self.short} {found['frechet']:.4f} ({parts})"]


def frechet_of_moments(a: Moments, b: Moments) -> float:
    """The distance of two sets of which only the moments are known."""
    return frechet(of_moments(a), of_moments(b))["frechet"]


def frechet(a: Gaussian, b: Gaussian) -> dict[str, float]:
    """The distance, and its parts of the means and of the covariances.

    With S_i = F_i^T F_i the trace of the root is the sum of the singular values of F_1 F_2^T: the
    roots of the eigenvalues of F_1 S_2 F_1^T, without squaring, which would turn a zero of 1e-16
    into one of 1e-8. A covariance of few examples has a factor of few rows.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(
            f"the moments are of {len(a.mean)} and of {len(b.mean)} features: read both sets with "
            "the same network"
        )
    means = float(((a.mean - b.mean) ** 2).sum())
    common = np.linalg.svd(a.factor @ b.factor.T, compute_uv=False).sum()
    covariances = max(float(a.trace + b.trace - 2 * common), 0.0)
    return {"frechet": means + covariances, "of_means": means, "of_covariances": covariances}


def of_rows(rows: np.ndarray) -> Gaussian:
    """Of rows (n, d): the centred rows are a factor, and the smaller one where n < d."""
    if len(rows) > rows.shape[1]:
        return of_moments(Moments.of(rows))
    rows = np.asarray(rows, np.float64)
    mean = rows.mean(0)
    factor = (rows - mean) / np.sqrt(len(rows) - 1)
    return Gaussian(mean, float((factor**2).sum()), factor)


def of_moments(moments: Moments) -> Gaussian:
    """By the symmetric eigendecomposition of the covariance, less what is zero up to rounding.

    ValueError where an eigenvalue is negative by more than that.
    """
    covariance = moments.covariance
    values = np.linalg.eigvalsh(covariance)
    largest = max(values.max(initial=0), 0)
    if values.min(initial=0) < -ROUNDING * largest:
        raise ValueError(
            f"the covariance has the eigenvalue {values.min():.3g}, and no covariance has a "
            "negative one: take another file of statistics"
        )
    zero = len(values) * np.finfo(np.float64).eps * largest
    if values.min(initial=np.inf) > zero:  # any factor will do, and this takes no eigenvectors
        factor = np.linalg.cholesky(covariance).T
    else:
        values, vectors = np.linalg.eigh(covariance)
        kept = values > zero
        factor = np.sqrt(values[kept])[:, None] * vectors[:, kept].T
    return Gaussian(moments.mean, float(np.trace(covariance)), factor)
