"""How a run is measured: the section `evaluate` of every task, and `doctor`."""

from dataclasses import dataclass

from ddm_jax.diffusion.likelihood.flow import TRACES
from ddm_jax.diffusion.likelihood.vlb import DECODERS
from ddm_jax.errors import unknown
from ddm_jax.options.checks import MOST, check_steps

WEIGHTS = ("averaged", "raw")  # of a run: those that samples are drawn with, those of its last step


@dataclass(frozen=True)
class EvaluateOptions:
    """The `evaluate` section of diffusion. metrics: rows of METRICS and SET_METRICS.

    Of metrics that measure examples of the data one by one: count of them, and their split, "" for
    the test split where the data have one, else the training examples. steps: times of the
    variational bound (0: all of the schedule's levels). variance: of the bound where the network
    learned none, "small" or "large". decoder: the bound's variance of x_0 at the last time, one of
    vlb.DECODERS; "published" makes bounds comparable with published ones. ode_steps: Runge-Kutta
    steps of the ODE, four evaluations each; trace and probes: how its divergence is taken, "exact"
    costs one derivative an element of the data.

    Of metrics that compare a set of samples with a set of data: samples, how many are drawn;
    source, a folder of images or an .npz of samples that are measured in place of the run's own;
    conditions, "data" for those of examples of the reference, or "asked" for what `sample` asks.
    reference: an .npz of another project with the mean and covariance of features, "" for the data;
    reference_split and reference_count, of the data (0: all of the split). weights: of the run,
    "averaged" or "raw".
    """

    metrics: tuple[str, ...] = ("bound", "ode")
    count: int = 128
    batch: int = 64
    split: str = ""
    seed: int = 0
    samples: int = 2000
    source: str = ""
    conditions: str = "data"
    reference: str = ""
    reference_split: str = "train"
    reference_count: int = 10000
    weights: str = "averaged"
    steps: int = 0
    variance: str = "large"
    decoder: str = "x0"
    ode_steps: int = 50
    trace: str = "rademacher"
    probes: int = 1

    def __post_init__(self):
        for name in ("count", "batch", "ode_steps", "probes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("steps", "ode_steps"):
            check_steps(name, getattr(self, name))
        if self.steps < 0 or self.steps == 1:
            raise ValueError(f"steps={self.steps} must be at least 2, or 0 for all levels")
        if not 2 <= self.samples < MOST:
            raise ValueError(
                f"samples={self.samples} must be at least 2, to be a set, and below 2^31"
            )
        if self.reference_count < 0 or self.reference_count == 1:
            raise ValueError(
                f"reference_count={self.reference_count} must be at least 2, or 0 for all"
            )
        if self.conditions not in ("data", "asked"):
            raise unknown("evaluate.conditions", self.conditions, ("data", "asked"))
        _of_weights(self.weights)
        if self.variance not in ("small", "large"):
            raise unknown("evaluate.variance", self.variance, ("small", "large"))
        if self.decoder not in DECODERS:
            raise unknown("evaluate.decoder", self.decoder, DECODERS)
        if self.trace not in TRACES:
            raise unknown("evaluate.trace", self.trace, TRACES)


@dataclass(frozen=True)
class DoctorOptions:
    """The `doctor` section of diffusion. examples: of the data that losses are taken on. levels:
    noise levels, at equal shares of the training times. samples: to compare with the data, 0 for
    none. reference: a file with a curve of the same config, "" for the one that ships, if any.
    write: a file to write this run's curve to, "" for none.
    """

    examples: int = 256
    levels: int = 10
    samples: int = 64
    batch: int = 64
    seed: int = 0
    reference: str = ""
    write: str = ""

    def __post_init__(self):
        for name, least in (("examples", 2), ("levels", 3), ("samples", 0), ("batch", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}")


@dataclass(frozen=True)
class AccuracyOptions:
    """The `evaluate` section of classifiers. metrics: rows of METRICS. count: examples, 0 for all.
    split: "" for the test split where the data have one, else the training examples. weights: of
    the run, "averaged" or "raw". levels: times from 0 to 1, evenly spaced, at which the accuracy is
    taken.
    """

    metrics: tuple[str, ...] = ("accuracy",)
    count: int = 0
    batch: int = 256
    split: str = ""
    seed: int = 0
    weights: str = "averaged"
    levels: int = 11

    def __post_init__(self):
        if self.batch < 1 or self.levels < 2 or self.count < 0:
            raise ValueError("batch must be at least 1, levels at least 2 and count at least 0")
        _of_weights(self.weights)


@dataclass(frozen=True)
class ReconstructionOptions:
    """The `evaluate` section of autoencoders. metrics: rows of METRICS. count: examples, 0 for all.
    split: "" for the test split where the data have one, else the training examples. weights: of
    the run, "averaged" or "raw".
    """

    metrics: tuple[str, ...] = ("psnr", "ssim")
    count: int = 0
    batch: int = 256
    split: str = ""
    seed: int = 0
    weights: str = "averaged"

    def __post_init__(self):
        if self.batch < 1 or self.count < 0:
            raise ValueError("batch must be at least 1 and count at least 0")
        _of_weights(self.weights)


def _of_weights(name: str) -> None:
    if name not in WEIGHTS:
        raise unknown("evaluate.weights", name, WEIGHTS)
