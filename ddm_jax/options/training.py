"""How a network is trained: the sections `loss`, `classifier` and `train`."""

import math
from dataclasses import dataclass

from ddm_jax.diffusion.losses.time_samplers import UNIFORMS
from ddm_jax.errors import unknown

LAYOUTS = ("replicated", "sharded")
COUNTS = ("steps", "accumulate", "log_every", "save_every", "keep", "steps_per_call", "bad_steps")
ON_BAD_STEP = ("stop", "skip", "rollback")


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
class TrainOptions:
    """The `train` section: lengths in steps.

    accumulate: equal parts of a device's batch that are gone through one after the other.
    deterministic_shards: where it is not 0, so many equal parts of the whole batch, each gone
    through alone and summed in order, so that any number of devices that divides it gives the same
    weights to the last bit, for the time and the memory that this takes. layout: whether every
    device keeps the whole state (replicated) or a part of each large array (sharded); fsdp: how
    many devices in a row share a sharded state, each group the same one (0: all share one). keep:
    newest checkpoints that stay; keep_every: those at its multiples stay as well (0: none).
    sample_every: a grid of samples (0: at the end). evaluate_every: the metrics of `evaluate`, at
    the end too (0: never); the checkpoint that is best by the first of them stays, as
    `<folder>@best`.
    hang_timeout: seconds without a step after which a run ends, with exit code 75 (0: never).
    steps_per_call: so many steps are one call of the compiled program, which asks nothing of the
    host between them; where fewer are left before something is due, they are called one by one.
    bad_steps in a row whose loss, gradient or update is not finite make on_bad_step happen: stop;
    rollback, to the weights of the newest checkpoint, three times at most; or skip, which goes on.
    Until then, and then, such an update is left out.
    """

    steps: int = 10000
    batch: int = 128
    accumulate: int = 1
    deterministic_shards: int = 0
    layout: str = "replicated"
    fsdp: int = 0
    log_every: int = 100
    save_every: int = 1000
    sample_every: int = 2000
    evaluate_every: int = 0
    keep: int = 2
    keep_every: int = 0
    steps_per_call: int = 1
    hang_timeout: float = 3600.0
    on_bad_step: str = "stop"
    bad_steps: int = 1

    @property
    def split(self) -> tuple[int, int, int]:
        """What `Layout.split_batch` asks for."""
        return self.batch, self.accumulate, self.deterministic_shards

    @property
    def forgives(self) -> bool:
        """Whether training goes on after any step that is not finite."""
        return self.on_bad_step != "stop" or self.bad_steps > 1

    def __post_init__(self):
        if self.on_bad_step not in ON_BAD_STEP:
            raise unknown("train.on_bad_step", self.on_bad_step, ON_BAD_STEP)
        if self.layout not in LAYOUTS:
            raise unknown("train.layout", self.layout, LAYOUTS)
        if self.deterministic_shards and self.layout != "replicated":
            raise ValueError(
                f"layout={self.layout} has no place beside deterministic_shards, whose update "
                "every device makes of the whole state; take one of the two"
            )
        if self.fsdp < 0:
            raise ValueError(f"fsdp={self.fsdp} is a number of devices, or 0 for all of them")
        if self.fsdp and self.layout != "sharded":
            raise ValueError(
                f"fsdp={self.fsdp} divides a state: set train.layout=sharded too, or fsdp=0"
            )
        for name in COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.deterministic_shards < 0:
            raise ValueError(
                f"deterministic_shards={self.deterministic_shards} must be a number of equal parts "
                "of a batch, or 0 for as many as there are devices"
            )
        if self.deterministic_shards and self.accumulate > 1:
            raise ValueError(
                f"accumulate={self.accumulate} has no place beside deterministic_shards, which are "
                "gone through one after the other already; leave accumulate at 1"
            )
        for name in ("sample_every", "evaluate_every", "keep_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1, or 0 for never")
        if not 0 <= self.hang_timeout < math.inf:
            raise ValueError(
                f"hang_timeout={self.hang_timeout} is a number of seconds, as 3600, or 0 for never"
            )
