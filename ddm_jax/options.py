"""The sections of a config that are plain settings: how to train, sample, evaluate."""

from dataclasses import dataclass

from ddm_jax.diffusion.clipping import CLIPS
from ddm_jax.diffusion.likelihood.flow import TRACES
from ddm_jax.diffusion.likelihood.vlb import DECODERS
from ddm_jax.diffusion.losses.time_samplers import UNIFORMS
from ddm_jax.errors import unknown

MOST = 2**31  # images have numbers below it
WEIGHTS = ("averaged", "raw")  # of a run: those that samples are drawn with, those of its last step


@dataclass(frozen=True)
class LossOptions:
    """The `loss` section. class_dropout: how often the class is replaced by the null class;
    uniforms: how the times of a batch are drawn together, a row of time_samplers.UNIFORMS."""

    class_dropout: float = 0.0
    uniforms: str = "independent"

    def __post_init__(self):
        if not 0 <= self.class_dropout <= 1:
            raise ValueError(f"class_dropout lies in [0, 1], not {self.class_dropout}")
        if self.uniforms not in UNIFORMS:
            raise unknown("loss.uniforms", self.uniforms, UNIFORMS)


@dataclass(frozen=True)
class TrainOptions:
    """The `train` section: lengths in steps. keep: newest checkpoints that stay; keep_every:
    those at its multiples stay as well (0: none). sample_every: a grid of samples (0: at the end).
    evaluate_every: the metrics of `evaluate`, at the end too (0: never); the checkpoint that is
    best by the first of them stays, as `<folder>@best`.
    """

    steps: int = 10000
    batch: int = 128
    accumulate: int = 1
    log_every: int = 100
    save_every: int = 1000
    sample_every: int = 2000
    evaluate_every: int = 0
    keep: int = 2
    keep_every: int = 0

    def __post_init__(self):
        for name in ("steps", "accumulate", "log_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("sample_every", "evaluate_every", "keep_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1, or 0 for never")


@dataclass(frozen=True)
class SampleOptions:
    """The `sample` section. steps: times of the grid, each one evaluation of the denoiser (two
    with samplers that look ahead, but for the last). evaluations: the number of evaluations that
    the steps follow from, 0 to give the steps. ask: prompts, names of classes or files of pictures,
    dealt to the images in turn. classes: classes by their indices, () for all. avoid: what
    guidance leads away from, of the same kind, "" for no condition. clip: how estimates of x_0 are
    held in the range of the data. film: of how many images the way from noise is drawn too.
    """

    count: int = 64
    batch: int = 64
    steps: int = 50
    evaluations: int = 0
    seed: int = 0
    clip: str = "static"
    ask: tuple[str, ...] = ()
    classes: tuple[int, ...] = ()
    avoid: str = ""
    film: int = 0

    def __post_init__(self):
        for name in ("count", "batch", "steps"):
            if not 1 <= getattr(self, name) < MOST:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1 and below 2^31")
        for name in ("evaluations", "film"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1, or 0")
        check_seed(self.seed)
        _whole("classes", self.classes)
        if not all(isinstance(text, str) for text in self.ask):
            raise ValueError(f"ask takes prompts, as in ('a red circle',), not {self.ask}")
        if not all(text.strip() for text in self.ask):
            raise ValueError("ask holds an empty prompt; leave it out, or say what to draw")
        for text in (*self.ask, self.avoid):
            if text != text.encode(errors="replace").decode():
                raise ValueError(f"{text!r} is no text that UTF-8 can write; type it anew")
        if self.ask and self.classes:
            raise ValueError("ask and classes both say what to draw; give one of them")
        if self.clip not in CLIPS:
            raise unknown("sample.clip", self.clip, CLIPS)


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
        check_seed(self.seed)
        for name in ("count", "batch", "ode_steps", "probes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
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
        check_seed(self.seed)
        for name, least in (("examples", 2), ("levels", 3), ("samples", 0), ("batch", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}")


@dataclass(frozen=True)
class ClassifierOptions:
    """The `classifier` section. noisy: whether it is trained on noised examples, or on examples as
    they are; uniforms: how the times of a batch are drawn together, a row of
    time_samplers.UNIFORMS.
    """

    noisy: bool = True
    uniforms: str = "stratified"

    def __post_init__(self):
        if self.uniforms not in UNIFORMS:
            raise unknown("classifier.uniforms", self.uniforms, UNIFORMS)


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
        check_seed(self.seed)
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
        check_seed(self.seed)
        if self.batch < 1 or self.count < 0:
            raise ValueError("batch must be at least 1 and count at least 0")
        _of_weights(self.weights)


def _of_weights(name: str) -> None:
    if name not in WEIGHTS:
        raise unknown("evaluate.weights", name, WEIGHTS)


def check_seed(seed: int) -> None:
    """Raises ValueError for a seed that is no integer of 64 bits."""
    if not -(2**63) <= seed < 2**63:
        raise ValueError(f"seed={seed} must lie below 2^63, and not below -2^63")


def _whole(name: str, values: tuple) -> None:
    """ValueError unless all are ints: a default of () says nothing of what goes in."""
    bad = [value for value in values if type(value) is not int]
    if bad:
        raise ValueError(f"{name} takes whole numbers, as in 1,2,3, not {bad[0]!r}")
