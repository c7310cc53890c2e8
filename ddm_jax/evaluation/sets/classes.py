"""What a classifier says of samples: are they clear, various, of all classes, and as asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ddm_jax.evaluation.base import mean_and_error
from ddm_jax.evaluation.sets.base import FeatureSet, in_fixed_order


@dataclass(frozen=True)
class Score:
    """exp E_x KL(p(y | x) || E_x p(y | x)), from 1 to the number of classes; more is better.

    It asks the samples alone. The mean and standard deviation over `splits` parts, into which
    the seed deals them. Salimans et al. 2016, arXiv:1606.03498.
    """

    splits: int = 10
    short: ClassVar[str] = "IS"
    higher: ClassVar[bool] = True
    of_classes: ClassVar[bool] = True
    of_asked: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.splits < 1:
            raise ValueError("needs splits >= 1")

    def compare(self, samples: FeatureSet, reference: FeatureSet, seed: int) -> dict[str, float]:
        log_probs = in_fixed_order(checked(samples))
        if len(log_probs) < 2 * self.splits:
            raise ValueError(
                f"{len(log_probs)} samples are too few for {self.splits} splits of two or more: "
                "take more samples, or fewer splits"
            )
        dealt = np.random.default_rng(seed).permutation(log_probs)
        found = [score(part) for part in np.array_split(dealt, self.splits)]
        return {"score": float(np.mean(found)), "deviation": float(np.std(found))}

    def lines(self, found: Mapping[str, float]) -> list[str]:
        value, deviation = found["score"], found["deviation"]
        return [f"{self.short} {value:.4f} +- {deviation:.4f} ({self.splits} splits)"]


@dataclass(frozen=True)
class Agreement:
    """The share of samples whose likeliest class is the one that they were asked to be."""

    short: ClassVar[str] = "agreement"
    higher: ClassVar[bool] = True
    of_classes: ClassVar[bool] = True
    of_asked: ClassVar[bool] = True

    def compare(self, samples: FeatureSet, reference: FeatureSet, seed: int) -> dict[str, float]:
        log_probs, asked = checked(samples), samples.asked
        if asked is None:
            raise ValueError("the samples were asked to be nothing: sample a model of classes")
        if (
            asked.shape != (len(log_probs),)
            or not ((0 <= asked) & (asked < log_probs.shape[1])).all()
        ):
            raise ValueError(
                f"the classes asked are no places among the {log_probs.shape[1]} that the features "
                "tell: take a classifier of the same classes"
            )
        found = mean_and_error(log_probs.argmax(1) == asked)
        return {"agreement": found["mean"], "standard_error": found["standard_error"]}

    def lines(self, found: Mapping[str, float]) -> list[str]:
        return [f"{self.short} {found['agreement']:.4f} +- {found['standard_error']:.4f}"]


@dataclass(frozen=True)
class ClassShares:
    """How far the shares p of the classes among samples are from those q of the reference.

    The total variation 1/2 sum_c |p_c - q_c|, from 0 to 1, the largest |p_c / q_c - 1| of classes
    of the reference, and how many of them no sample is of. An example is of its likeliest class.
    """

    short: ClassVar[str] = "class shares"
    higher: ClassVar[bool] = False
    of_classes: ClassVar[bool] = True
    of_asked: ClassVar[bool] = False

    def compare(self, samples: FeatureSet, reference: FeatureSet, seed: int) -> dict[str, float]:
        p, q = shares(checked(samples)), shares(checked(reference))
        if p.shape != q.shape:
            raise ValueError(
                f"samples have {len(p)} classes and the reference {len(q)}: read both with the "
                "same network"
            )
        there = q > 0
        return {
            "total_variation": float(abs(p - q).sum() / 2),
            "largest": float(abs(p[there] / q[there] - 1).max()),
            "missing": float((p[there] == 0).sum()),
            "classes": float(there.sum()),
        }

    def lines(self, found: Mapping[str, float]) -> list[str]:
        return [
            f"{self.short} differ by {found['total_variation']:.4f}, one by {found['largest']:.1%} "
            f"of its own; {found['missing']:.0f} of {found['classes']:.0f} classes are missing"
        ]


def shares(log_probs: np.ndarray) -> np.ndarray:
    """(classes,): how often each is the likeliest of (n, classes)."""
    count = log_probs.shape[1]
    return np.bincount(log_probs.argmax(1), minlength=count) / len(log_probs)


def checked(samples: FeatureSet) -> np.ndarray:
    """The log-probabilities of samples, (n, classes); ValueError where they are none."""
    if samples.log_probs is None:
        raise ValueError("the features tell no classes: take those of a classifier")
    log_probs = np.asarray(samples.log_probs, np.float64)
    if not len(log_probs):
        raise ValueError("there are no samples: take more than none")
    sums = np.exp(np.minimum(log_probs, 1)).sum(1)
    if not (abs(sums - 1) < 1e-3).all():
        raise ValueError(
            "the probabilities of classes do not sum to one, or are no numbers: look whether the "
            "run diverged, and whether the classifier gives log-probabilities"
        )
    return log_probs


def score(log_probs: np.ndarray) -> float:
    """exp E_x KL(p(y | x) || E_x p(y | x)) of (n, classes); a class without probability adds 0."""
    probs = np.exp(log_probs)
    own, all_ = (np.log(p, where=p > 0, out=np.zeros_like(p)) for p in (probs, probs.mean(0)))
    return float(np.exp((probs * (own - all_)).sum(1).mean()))
