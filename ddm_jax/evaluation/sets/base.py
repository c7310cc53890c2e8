"""What a metric of sets is: rows of features, their moments, and numbers that compare two sets."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, Self

import numpy as np

BLOCK = 4096  # rows that are read at once: 64 MiB of float64 at 2048 features


class FeatureSet(NamedTuple):
    """A set of examples as a network sees them, in any order.

    features: (n, d) float32, one row per example.
    log_probs: (n, classes) log-probabilities, where the features tell classes.
    asked: (n,) int32, the class that each was asked to be, None where nothing was asked.
    """

    features: np.ndarray
    log_probs: np.ndarray | None = None
    asked: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean (d,) and scatter sum_i (x_i - mean)(x_i - mean)^T (d, d) of rows, in float64.

    Two are merged without loss, so they do not depend on how rows are split over batches, devices
    and hosts. Chan, Golub & LeVeque 1983, doi:10.1080/00031305.1983.10483115.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> Self:
        """Of rows (n, d), n >= 0; ValueError where one is not finite."""
        finite(rows, "the features")
        width = rows.shape[1]
        found = cls(0, np.zeros(width), np.zeros((width, width)))
        for start in range(0, len(rows), BLOCK):
            block = np.asarray(rows[start : start + BLOCK], np.float64)
            mean = block.mean(0)
            rest = block - mean
            found = found.merge(cls(len(block), mean, rest.T @ rest))
        return found

    def merge(self, other: Self) -> Self:
        """Of the rows of both: the means' distance adds its part to the scatter."""
        count = self.count + other.count
        share, gap = other.count / max(count, 1), other.mean - self.mean
        between = self.count * share * np.outer(gap, gap)
        return type(self)(count, self.mean + share * gap, self.scatter + other.scatter + between)

    @property
    def covariance(self) -> np.ndarray:
        """(d, d), unbiased; ValueError of fewer than two rows."""
        if self.count < 2:
            raise ValueError(f"a covariance needs 2 examples and there are {self.count}: take more")
        return self.scatter / (self.count - 1)

    @classmethod
    def from_published(cls, mu: np.ndarray, sigma: np.ndarray, count: int) -> Self:
        """Of a mean (d,) and an unbiased covariance (d, d), as statistics files hold them.

        count: the examples behind them, at least 2. ValueError where the three do not fit.
        """
        mu, sigma = np.asarray(mu, np.float64), np.asarray(sigma, np.float64)
        if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
            raise ValueError(
                f"mu of shape {mu.shape} and sigma of shape {sigma.shape} are no mean (d,) and "
                "covariance (d, d): take a file that holds such a pair"
            )
        finite(mu, "the published mean")
        finite(sigma, "the published covariance")
        if not np.allclose(sigma, sigma.T, rtol=1e-5, atol=1e-6 * abs(sigma).max(initial=0)):
            raise ValueError("the published covariance is not symmetric: take another file")
        if count < 2:
            raise ValueError(f"published moments are of 2 examples or more, not of {count}")
        return cls(int(count), mu, (sigma + sigma.T) / 2 * (count - 1))

    def published(self) -> dict[str, np.ndarray]:
        """The arrays of a statistics file: `mu`, `sigma`, and their `count`."""
        return {"mu": self.mean, "sigma": self.covariance, "count": np.asarray(self.count)}


class SetMetric(Protocol):
    """A row of SET_METRICS: a frozen dataclass, whose fields are its settings."""

    short: ClassVar[str]  # how it is printed
    of_classes: ClassVar[bool]  # whether it needs log_probs
    of_asked: ClassVar[bool]  # whether it needs to know what samples were asked to be
    higher: ClassVar[bool]  # whether a higher headline is better

    def compare(self, samples: FeatureSet, reference: FeatureSet, seed: int) -> dict[str, float]:
        """Numbers by name, the headline first; they do not depend on the order of rows.

        seed: of what is drawn. ValueError where the sets are too small or hold what is not finite.
        """
        ...

    def lines(self, found: Mapping[str, float]) -> list[str]:
        """The numbers for the eye."""
        ...


def finite(values: np.ndarray, name: str) -> None:
    """Refuses values that are infinite or no numbers."""
    if not np.isfinite(values).all():
        raise ValueError(
            f"{name} hold values that are not finite: look whether the run diverged, and whether "
            "the features were read in a precision that is too low"
        )


def check(samples: FeatureSet, reference: FeatureSet, least: int) -> None:
    """Refuses sets of fewer than `least` rows, of different widths, or with values not finite."""
    for name, rows in (("the samples", samples.features), ("the reference", reference.features)):
        if rows.ndim != 2:
            raise ValueError(f"the features of {name} have shape {rows.shape}: give rows (n, d)")
        if len(rows) < least:
            raise ValueError(f"{name} are {len(rows)} and {least} are needed: take more examples")
        finite(rows, f"the features of {name}")
    widths = samples.features.shape[1], reference.features.shape[1]
    if widths[0] != widths[1]:
        raise ValueError(
            f"samples have {widths[0]} features and the reference has {widths[1]}: read both with "
            "the same network"
        )


def in_fixed_order(rows: np.ndarray) -> np.ndarray:
    """The rows (n, d) in an order that they alone decide, that of digests of their bytes.

    What a seed draws from them is then the same whatever order they came in, and neighbours in it
    have nothing to do with each other.
    """
    plain = np.ascontiguousarray(rows + np.zeros((), rows.dtype))  # -0 becomes 0
    digests = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in plain]
    return plain[sorted(range(len(plain)), key=digests.__getitem__)]
