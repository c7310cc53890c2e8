"""ConfigDict -> Setup, once at the door; and the runs that a config borrows."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from ddm_jax.config.schema import build, part
from ddm_jax.config.setup import Setup
from ddm_jax.config.tables import COMMON, COMMON_TABLES, task_of
from ddm_jax.config.validate import check
from ddm_jax.data.dataset import Spec
from ddm_jax.options.checks import check_whole
from ddm_jax.tasks.base import Task
from ddm_jax.training.averages import Average


def make_task(config: ConfigDict, spec: Spec, lent: Mapping[str, Task]) -> Task:
    """The task of a config for data of `spec`; lent: the tasks of borrowed runs, by role."""
    kind = task_of(config)
    sections = {**kind.parts, **kind.tables}

    def made(section: str, **context: Any) -> Any:
        return build(sections[section], part(config, section), section, **context)

    train = build(COMMON["train"], part(config, "train"), "train")
    return kind.make(made, spec, train.batch, lent)


def make_average(config: ConfigDict) -> Average:
    """The average of the weights that a config keeps."""
    return build(COMMON_TABLES["average"], part(config, "average"), "average")


def assemble(config: ConfigDict, spec: Spec, lent: Mapping[str, Task] | None = None) -> Setup:
    """The Setup of a config; raises UserError for what cannot work."""
    task = make_task(config, spec, lent or {})
    common = {name: build(cls, part(config, name), name) for name, cls in COMMON.items()}
    name, seed, average = part(config, "task"), part(config, "seed"), make_average(config)
    check_whole("seed", seed)
    setup = Setup(name, task, seed, average=average, **common)
    return dataclasses.replace(setup, warnings=check(setup))


def loans(config: ConfigDict) -> dict[str, str]:
    """The names of the runs that a config borrows, by role; those it leaves empty are not there."""
    found = {}
    for role, loan in task_of(config).borrows.items():
        section, _, rest = loan.key.partition(".")
        row, _, setting = rest.rpartition(".")
        if not row or part(part(config, section), "name") == row:
            inner = part(config, section)
            name = part(part(inner, row) if row else inner, setting)
            if name:
                found[role] = name
    return found
