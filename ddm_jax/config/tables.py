"""The sections of a config: tables to choose from, and plain options."""

from typing import Any

from ml_collections import ConfigDict

from ddm_jax.config.defaults import DEFAULTS
from ddm_jax.config.schema import build, choice, part, section
from ddm_jax.data.dataset import DataOptions
from ddm_jax.diffusion.losses.distances import DISTANCES
from ddm_jax.diffusion.losses.objectives import OBJECTIVES
from ddm_jax.diffusion.losses.time_samplers import TIME_SAMPLERS
from ddm_jax.diffusion.losses.weightings import WEIGHTINGS
from ddm_jax.diffusion.noise_conds import NOISE_CONDS
from ddm_jax.diffusion.predictions import PREDICTIONS
from ddm_jax.diffusion.samplers import SAMPLERS
from ddm_jax.diffusion.samplers.timesteps import TIMESTEPS
from ddm_jax.diffusion.schedules import SCHEDULES
from ddm_jax.errors import UserError, unknown
from ddm_jax.models import MODELS
from ddm_jax.options import EditOptions, EvaluateOptions, LossOptions, SampleOptions, TrainOptions
from ddm_jax.training.optim import Ema, Optim

TABLES = {
    "model": MODELS,
    "schedule": SCHEDULES,
    "prediction": PREDICTIONS,
    "noise_cond": NOISE_CONDS,
    "time_sampler": TIME_SAMPLERS,
    "objective": OBJECTIVES,
    "weighting": WEIGHTINGS,
    "distance": DISTANCES,
    "sampler": SAMPLERS,
    "timesteps": TIMESTEPS,
}
PARTS = {
    "data": DataOptions,
    "loss": LossOptions,
    "optim": Optim,
    "ema": Ema,
    "train": TrainOptions,
    "sample": SampleOptions,
    "evaluate": EvaluateOptions,
    "edit": EditOptions,
}

# Settings that a run may change when it goes on: they touch no weight.
FREE = (
    "train.steps",
    "train.log_every",
    "train.save_every",
    "train.sample_every",
    "train.keep",
    "train.keep_every",
    "sample.",
    "evaluate.",
    "edit.",
    "sampler.",
    "timesteps.",
    "data.dir",
    "data.downloads",
    "data.cache",
    "data.strict",
    "data.on_device",
)


def complete(config: ConfigDict) -> ConfigDict:
    """`config` with the sections, rows and settings that it lacks at their defaults.

    So a config saved by an earlier version can be read, and a new one can be short.
    """
    full = ConfigDict({"seed": DEFAULTS["seed"]})
    for name, cls in PARTS.items():
        full[name] = section(cls)
    for name, table in TABLES.items():
        full[name] = choice(table, DEFAULTS[name]["name"])
    for key, value in config.items():
        if key not in full:
            raise UserError(f"the config has a section {key!r} that nothing reads; remove it")
        _merge(full, key, value)
    return full.lock()


def _merge(into: ConfigDict, key: str, value: Any) -> None:
    """Set `into[key]`, section by section; keys that nothing knows are left for `build` to name."""
    if isinstance(value, ConfigDict) and isinstance(into.get(key), ConfigDict):
        for name, inner in value.items():
            _merge(part(into, key).unlock(), name, inner)
    else:
        with into.ignore_type():
            into.unlock()[key] = value


def check_names(config: ConfigDict) -> None:
    """UserError for a choice of a row that its table lacks."""
    for name, table in TABLES.items():
        row = part(config, name).name
        if row not in table:
            raise unknown(name, row, table)


def data_options(config: ConfigDict) -> DataOptions:
    """The `data` section alone, for what comes before there is a data set."""
    return build(DataOptions, part(config, "data"), "data")
