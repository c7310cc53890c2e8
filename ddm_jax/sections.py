"""The sections of a config: tables to choose from, plain options, and their defaults."""

from typing import Any

from ml_collections import ConfigDict

from ddm_jax import config as config_
from ddm_jax.data.dataset import DataOptions
from ddm_jax.diffusion.errors import ERRORS
from ddm_jax.diffusion.grids import GRIDS
from ddm_jax.diffusion.objectives import OBJECTIVES
from ddm_jax.diffusion.predictions import LABELS, PREDICTIONS
from ddm_jax.diffusion.samplers import SAMPLERS
from ddm_jax.diffusion.schedules import SCHEDULES
from ddm_jax.diffusion.times import TIMES
from ddm_jax.diffusion.weightings import WEIGHTINGS
from ddm_jax.errors import UserError, unknown
from ddm_jax.models import MODELS
from ddm_jax.options import EditOptions, EvaluateOptions, LossOptions, SampleOptions, TrainOptions
from ddm_jax.training.optim import Ema, Optim

TABLES = {
    "model": MODELS,
    "schedule": SCHEDULES,
    "prediction": PREDICTIONS,
    "label": LABELS,
    "times": TIMES,
    "objective": OBJECTIVES,
    "weighting": WEIGHTINGS,
    "error": ERRORS,
    "sampler": SAMPLERS,
    "grid": GRIDS,
}
DEFAULTS = {
    "model": "ddpm_unet",
    "schedule": "cosine",
    "prediction": "eps",
    "label": "timestep",
    "times": "uniform",
    "objective": "weighted",
    "weighting": "simple",
    "error": "l2",
    "sampler": "ddim",
    "grid": "uniform",
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
    "grid.",
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
    full = ConfigDict({"seed": 0})
    for name, cls in PARTS.items():
        full[name] = config_.section(cls)
    for name, table in TABLES.items():
        full[name] = config_.choice(table, DEFAULTS[name])
    for key, value in config.items():
        if key not in full:
            raise UserError(f"the config has a section {key!r} that nothing reads; remove it")
        _merge(full, key, value)
    return full.lock()


def _merge(into: ConfigDict, key: str, value: Any) -> None:
    """Set `into[key]`, section by section; keys that nothing knows are left for `build` to name."""
    if isinstance(value, ConfigDict) and isinstance(into.get(key), ConfigDict):
        for name, inner in value.items():
            _merge(into[key].unlock(), name, inner)
    else:
        with into.ignore_type():
            into.unlock()[key] = value


def check_names(config: ConfigDict) -> None:
    """UserError for a choice of a row that its table lacks."""
    for section, table in TABLES.items():
        if config[section].name not in table:
            raise unknown(section, config[section].name, table)


def data_options(config: ConfigDict) -> DataOptions:
    """The `data` section alone, for what comes before there is a data set."""
    return config_.build(DataOptions, config.data, "data")
