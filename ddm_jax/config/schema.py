"""Sections of a config made from dataclasses, and the road back to objects.

A section is a ConfigDict with the fields of one dataclass. A choice is a section `name` plus one
section for every row of a table, so that each row's settings are there to be overridden:
`--config.sampler.name=ddpm --config.sampler.ddpm.variance=large`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from ddm_jax.errors import UserError, unknown
from ddm_jax.options.checks import check_whole

_LARGEST = float(np.finfo(np.float32).max)
_FLAX_OWN = ("parent", "name")  # fields that flax.linen.Module adds to every module


def defaults_of(cls: type) -> dict[str, Any]:
    """Fields with a default are settings; those without come from the data or the code."""
    own = _FLAX_OWN if hasattr(cls, "apply") else ()
    return {
        f.name: f.default
        for f in dataclasses.fields(cls)
        if f.default is not dataclasses.MISSING and f.name not in own
    }


def section(cls: type, **values: Any) -> ConfigDict:
    """The settings of dataclass `cls`, with `values` in place of some defaults."""
    config = ConfigDict(defaults_of(cls)).lock()
    config.update(values)
    return config


def choice(table: Mapping[str, type], name: str, **values: Any) -> ConfigDict:
    """`{name, <row>: {settings of the row}}` for every row; `values` go to the row `name`."""
    rows = {row: section(cls) for row, cls in table.items()}
    rows[name].update(values)
    return ConfigDict({"name": name, **rows}).lock()


def part(config: ConfigDict, name: str) -> Any:
    """The section or setting `name`, whose type only the schema knows."""
    return config[name]


def build(
    what: type | Mapping[str, type], config: ConfigDict, kind: str = "", **context: Any
) -> Any:
    """The object that a section describes; `context` are the arguments that are no settings.

    `what` is a dataclass (the section holds its fields) or a table (the section is a `choice`).
    Raises UserError for an unknown row, for values that the dataclass refuses (ValueError), for
    numbers that are not finite and for whole ones that are too large.
    """
    values: Any = config
    if isinstance(what, Mapping):
        kind, row = kind or "choice", part(config, "name")
        if row not in [*what]:  # whatever a file holds there, hashable or not
            raise unknown(kind, row, what)
        cls, path = what[row], f"{kind}.{row}"
        values = part(config, row) if row in config else {}
    else:
        cls, path = what, kind
    defaults = defaults_of(cls)
    for key, value in values.items():
        if key not in defaults:
            raise unknown(f"setting of {kind or cls.__name__}", key, defaults)
        wanted = type(defaults[key])
        if not isinstance(value, (int, float) if wanted is float else wanted):
            raise UserError(
                f"{kind or cls.__name__}: {key} takes values like {defaults[key]!r}, not {value!r}"
            )
        for number in value if wanted is tuple else (value,):
            if type(number) is int and wanted is not float:
                check_whole(f"{path}.{key}", number)
        if wanted is float and not abs(value) <= _LARGEST:
            raise UserError(f"--config.{path}.{key}={value} is no finite float32 number; give one")
    try:
        return cls(**context, **values)
    except ValueError as error:
        raise UserError(f"{kind or cls.__name__}: {error}") from error
