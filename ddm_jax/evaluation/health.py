"""What is measured of a run to tell whether it is healthy, in numbers alone."""

from typing import NamedTuple

import numpy as np


class Means(NamedTuple):
    """Mean and standard error over examples, at each noise level (L,)."""

    mean: np.ndarray
    error: np.ndarray


class Curve(NamedTuple):
    """The error of averaged weights by level of another run of the same config, at its `step`."""

    name: str
    step: int
    times: np.ndarray
    mean: np.ndarray

    def at(self, times: np.ndarray) -> np.ndarray:
        """The curve at other times (L,), even in its logarithm between its own."""
        order = np.argsort(self.times)
        known = np.log(np.maximum(self.mean[order], 1e-12))
        return np.exp(np.interp(times, self.times[order], known))


class Log(NamedTuple):
    """What training wrote, (R,) each; norms of gradients are from before clipping."""

    step: np.ndarray
    loss: np.ndarray
    grad_norm: np.ndarray
    lr: np.ndarray


class Values(NamedTuple):
    """Of examples (N, ..., C): their number and, (C,) each, moments and ends of each channel.

    spread: the variance between examples, mean over the elements; what a constant image leaves.
    """

    examples: int
    mean: np.ndarray
    std: np.ndarray
    low: np.ndarray
    high: np.ndarray
    spread: float

    @property
    def alike(self) -> bool:
        """Whether the examples are all but equal."""
        return self.spread <= 1e-3 * float((self.std**2).mean())


class Start(NamedTuple):
    """How sampling begins: the first time of its grid, the SNR there in training's schedule, how
    far the log-SNR of its own lies from training's, the most over the grid, and the deviation of
    the x that it starts from, as a multiple of what the schedule has there."""

    time: float
    snr: float
    apart: float
    noise: float


class Moved(NamedTuple):
    """Distance of the raw and of the averaged weights from the first ones, as a share of those."""

    raw: float
    averaged: float


class Told(NamedTuple):
    """What the condition is worth.

    gain: error under the condition of another example less that under its own, of raw weights.
    share: of the data's variance between the means of their classes, and what chance gives, None
    where there are no classes.
    """

    gain: Means
    share: tuple[float, float] | None


class Checkup(NamedTuple):
    """All that is known of a run at `step` of `steps`; errors are of x_0, squared, per element.

    times, logsnr: of the levels (L,). raw, averaged: errors of the weights as the optimiser left
    them and of those that samples are drawn with; first: of the first ones, (L,). gaussian: of the
    best affine estimate, (L,). full: whether that knows how elements go together. x: what the
    network is given. limits: the x (C,) of the ends of the data's range, None where it has none.
    levels: how many values the data have, 0 for continuous ones. returned: how far decoded examples
    lie from the data, the root of the mean square, as a share of the range. data, samples: values
    as they are shown, of samples and of the examples whose conditions these have; data None where
    none are drawn, samples alone where some are not finite. lr, clip: as the config has them.
    """

    step: int
    steps: int
    times: np.ndarray
    logsnr: np.ndarray
    averaged: Means
    raw: Means
    first: np.ndarray
    gaussian: np.ndarray
    full: bool
    x: Values
    limits: tuple[np.ndarray, np.ndarray] | None
    levels: int
    returned: float
    moved: Moved
    log: Log
    lr: float
    clip: float
    start: Start
    told: Told | None = None
    data: Values | None = None
    samples: Values | None = None
    reference: Curve | None = None

    @property
    def used(self) -> float:
        """The largest share of the range of x that the examples of a channel fill, nan for none."""
        if self.limits is None:
            return float("nan")
        low, high = self.limits
        return float(((self.x.high - self.x.low) / (high - low)).max())

    @property
    def finished(self) -> bool:
        return self.step >= self.steps

    @property
    def usual(self) -> bool:
        """Whether the data can be judged by: they differ from each other."""
        return self.x.examples > 1 and not self.x.alike

    def above(self, of: Means, bound: np.ndarray | float, factor: float = 1.0) -> int:
        """At how many levels an error is above `factor` times a bound, beyond its own noise.

        What is not finite is above all.
        """
        below = of.mean - 3 * of.error <= factor * bound
        return int((~(below & np.isfinite(of.mean))).sum())

    def learnt(self, of: Means) -> bool:
        """Whether weights are as good as the best affine estimate at half of the levels.

        A tenth more is allowed, since the examples are a part of the data.
        """
        return 2 * int((of.mean <= 1.1 * self.gaussian).sum()) >= len(self.times)


def values(x: np.ndarray) -> Values:
    """Of examples x (N, ..., C), in float64."""
    axes = tuple(range(x.ndim - 1))
    x = np.asarray(x, np.float64)
    ends = x.min(axes), x.max(axes)
    return Values(len(x), x.mean(axes), x.std(axes), *ends, float(x.var(0).mean()))


def means(rows: np.ndarray) -> Means:
    """Of errors of examples (n, L), n >= 1."""
    rows = np.asarray(rows, np.float64)
    return Means(rows.mean(0), rows.std(0) / np.sqrt(max(len(rows) - 1, 1)))


class Finding(NamedTuple):
    """A sentence or two with the remedy, and the name of what is found; an ill one is a fault."""

    ill: bool
    name: str
    text: str
