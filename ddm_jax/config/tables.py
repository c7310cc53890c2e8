"""The sections of a config: those of every run, and those of its task."""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from ddm_jax.config.defaults import DEFAULTS
from ddm_jax.config.load import load_config, override
from ddm_jax.config.schema import build, choice, part, section
from ddm_jax.data.dataset import DataOptions
from ddm_jax.errors import UserError, unknown
from ddm_jax.options.training import TrainOptions
from ddm_jax.tasks import TASKS
from ddm_jax.tasks.base import RunName, Task
from ddm_jax.training.averages import AVERAGES
from ddm_jax.training.optim import Optim

# Plain sections and choices of every run, whatever its task.
COMMON: Mapping[str, type] = {
    "data": DataOptions,
    "optim": Optim,
    "train": TrainOptions,
    "init": RunName,
}

COMMON_TABLES: Mapping[str, Mapping[str, type]] = {"average": AVERAGES}

# Settings that a run may change when it goes on: they touch no weight while all numbers are finite.
FREE = (
    "train.steps",
    "train.log_every",
    "train.save_every",
    "train.sample_every",
    "train.evaluate_every",
    "train.keep",
    "train.keep_every",
    "train.steps_per_call",
    "train.hang_timeout",
    "train.on_bad_step",
    "train.bad_steps",
    "train.layout",
    "train.fsdp",
    "data.dir",
    "data.downloads",
    "data.cache",
    "data.embeddings",
    "data.strict",
    "data.on_device",
    "init.run",
    "average.power.length",
)


def task_of(config: ConfigDict) -> type[Task]:
    """The row of TASKS that a config names."""
    name = part(config, "task") if "task" in config else "diffusion"
    if name not in [*TASKS]:
        raise unknown("task", name, TASKS)
    return TASKS[name]


def tables_of(config: ConfigDict) -> dict[str, Mapping[str, type]]:
    """The sections that are choices, with their tables."""
    return {**COMMON_TABLES, **task_of(config).tables}


def free(config: ConfigDict) -> tuple[str, ...]:
    """The beginnings of keys that touch no weight."""
    return FREE + task_of(config).free


def read(path: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """The complete config of a file, with what the command line overrides."""
    return override(complete(load_config(path)), overrides)


def complete(config: ConfigDict) -> ConfigDict:
    """`config` with the sections, rows and settings that it lacks at their defaults.

    Which sections there are, its task says. So a config saved by an earlier version can be read,
    and a new one can be short.
    """
    task, named = task_of(config), part(config, "task") if "task" in config else "diffusion"
    defaults = DEFAULTS.get(named, {})
    full = ConfigDict({"task": named, "seed": 0})
    for name, cls in {**COMMON, **task.parts}.items():
        full[name] = section(cls)
    for name, table in tables_of(config).items():
        first = next(iter(table))
        full[name] = choice(table, defaults[name]["name"] if name in defaults else first)
    with full.ignore_type():  # once, as it goes through all settings
        for key, value in config.items():
            if key not in full:
                raise UserError(
                    f"the config has a section {key!r} that task {named!r} does not read; remove it"
                )
            _merge(full, key, value, key)
    if type(full.seed) is not int:
        raise UserError(f"seed={full.seed!r} must be a whole number")
    return full.lock()


def _merge(into: ConfigDict, key: str, value: Any, path: str) -> None:
    """Set `into[key]`, section by section; keys that nothing knows are left for `build` to name."""
    if isinstance(into.get(key), ConfigDict):
        if not isinstance(value, ConfigDict):
            raise UserError(f"the config has {path}={value!r} where settings of {path} belong")
        for name, inner in value.items():
            _merge(part(into, key), name, inner, f"{path}.{name}")
    else:
        into.unlock()[key] = value


def check_alone(config: ConfigDict) -> None:
    """UserError for what is wrong whatever the data and the folder hold: a choice of a row that its
    table lacks, or a setting that all tasks read.
    """
    for name, table in tables_of(config).items():
        row = part(part(config, name), "name")
        if row not in [*table]:
            raise unknown(name, row, table)
    for name, cls in COMMON.items():
        build(cls, part(config, name), name)


def data_options(config: ConfigDict) -> DataOptions:
    """The `data` section alone, for what comes before there is a data set."""
    return build(DataOptions, part(config, "data"), "data")
