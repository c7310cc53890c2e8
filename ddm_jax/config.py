"""Configs as data: sections made from dataclasses, overrides, JSON, and the road back to objects.

A section is a ConfigDict with the fields of one dataclass. A choice is a section `name` plus one
section for every row of a table, so that each row's settings are there to be overridden:
`--config.sampler.name=ddpm --config.sampler.ddpm.variance=large`.
"""

import dataclasses
import json
import re
import runpy
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags

from ddm_jax import cells, files
from ddm_jax.errors import UserError, unknown

_LARGEST = float(np.finfo(np.float32).max)
_FLAX_OWN = ("parent", "name")  # fields that flax.linen.Module adds to every module


def _defaults(cls: type) -> dict[str, Any]:
    """Fields with a default are settings; those without come from the data or the code."""
    own = _FLAX_OWN if hasattr(cls, "apply") else ()
    return {
        f.name: f.default
        for f in dataclasses.fields(cls)
        if f.default is not dataclasses.MISSING and f.name not in own
    }


def section(cls: type, **values: Any) -> ConfigDict:
    """The settings of dataclass `cls`, with `values` in place of some defaults."""
    config = ConfigDict(_defaults(cls)).lock()
    config.update(values)
    return config


def choice(table: Mapping[str, type], name: str, **values: Any) -> ConfigDict:
    """`{name, <row>: {settings of the row}}` for every row; `values` go to the row `name`."""
    rows = {row: section(cls) for row, cls in table.items()}
    rows[name].update(values)
    return ConfigDict({"name": name, **rows}).lock()


def build(
    what: type | Mapping[str, type], config: ConfigDict, kind: str = "", **context: Any
) -> Any:
    """The object that a section describes; `context` are the arguments that are no settings.

    `what` is a dataclass (the section holds its fields) or a table (the section is a `choice`).
    Raises UserError for an unknown row, for values that the dataclass refuses (ValueError) and for
    numbers that are not finite.
    """
    cls, values, path = what, config, kind
    if isinstance(what, Mapping):
        kind = kind or "choice"
        if config.name not in what:
            raise unknown(kind, config.name, what)
        cls, values = what[config.name], config.get(config.name, {})
        path = f"{kind}.{config.name}"
    defaults = _defaults(cls)
    for key, value in values.items():
        if key not in defaults:
            raise unknown(f"setting of {kind or cls.__name__}", key, defaults)
        wanted = type(defaults[key])
        if not isinstance(value, (int, float) if wanted is float else wanted):
            raise UserError(
                f"{kind or cls.__name__}: {key} takes values like {defaults[key]!r}, not {value!r}"
            )
        if wanted is float and not abs(value) <= _LARGEST:
            raise UserError(f"--config.{path}.{key}={value} is no finite float32 number; give one")
    try:
        return cls(**context, **values)
    except ValueError as error:
        raise UserError(f"{kind or cls.__name__}: {error}") from error


def load(path: str) -> ConfigDict:
    """The config of a Python file with `get_config()` (or `file.py:argument`), or of a JSON file.

    A Python file is run, with the folder above its own on the import path, so that it can say
    `from configs import base`. A JSON file, as a run saves it, is only read.
    """
    name, _, argument = path.partition(":")
    file = Path(name)
    if file.suffix not in (".py", ".json"):
        raise UserError(f"{path}: a config is a .py file with get_config(), or a .json file")
    if not file.is_file():
        beside = sorted(str(p) for p in file.parent.glob("*" + file.suffix) if p.stem != "base")
        raise unknown("config file", path, beside or ["configs/quickstart.py"])
    if file.suffix == ".json":
        try:
            return _from_plain(json.loads(file.read_text()))
        except (ValueError, AttributeError) as error:
            raise UserError(f"{path} is no config in JSON: {error}") from error
    return _call(path, {"get_config": (argument,) if argument else ()})


def own_sweep(path: str) -> cells.Cells:
    """The cells that a Python config asks for by `sweep()` or `get_hyper(h)`."""
    name, _, _ = path.partition(":")
    if Path(name).suffix != ".py":
        raise UserError(f"{path} has no sweep of its own; write --sweep key=a,b")
    found = _call(path, {"sweep": (), "get_hyper": (cells.Hyper,)})
    if not isinstance(found, list) or not all(isinstance(cell, dict) for cell in found):
        raise UserError(f"the sweep of {path} must be a list of dicts {{dotted key: value}}")
    if not found:
        raise UserError(f"the sweep of {path} is empty; return at least one dict")
    return cells.chain([cells.product([cells.sweep(k, [v]) for k, v in c.items()]) for c in found])


def _call(path: str, functions: Mapping[str, tuple]) -> Any:
    """What the first of the functions that a Python file has gives for its arguments."""
    name, _, _ = path.partition(":")
    above = str(Path(name).resolve().parent.parent)
    try:
        sys.path.insert(0, above)
        module = runpy.run_path(name)
        for function, arguments in functions.items():
            if function in module:
                return module[function](*arguments)
    except Exception as error:
        frames = reversed(traceback.extract_tb(error.__traceback__))
        line = next((f.lineno for f in frames if f.filename.endswith(name)), "?")
        text = " ".join(str(error).split())
        raise UserError(f"{path}, line {line}: {type(error).__name__}: {text}") from error
    finally:
        sys.path.remove(above)
    wanted = " or ".join(f"{function}()" for function in functions)
    raise UserError(f"{path} has no function {wanted}, which this needs; add it")


def override(config: ConfigDict, arguments: Sequence[str]) -> ConfigDict:
    """A copy of `config` with command-line arguments `--config.a.b=value` applied.

    Values are read by the type that the config already has there. Raises UserError for an
    unknown key (with the nearest one) and for a value of the wrong type.
    """
    config = ConfigDict(config.to_dict())
    known = dict(leaves(config))
    for key in overridden(arguments):
        if key not in known:
            if any(name.startswith(key + ".") for name in known):
                inside = ", ".join(n for n in known if n.startswith(key + "."))
                raise UserError(f"--config.{key} is a section; set one of {inside}")
            close = unknown("key", key, known).args[0].split(" choose one of")[0].rstrip(";")
            raise UserError(f"{close} (--dry_run prints every key)")
    values = flags.FlagValues()
    argv = ["launch.py", *arguments]
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
        rest = values(argv)[1:]
        result = values.config
    except (flags.Error, TypeError, ValueError, SyntaxError) as error:
        text = " ".join(str(error).split())
        key = re.search(r"--(?:config\.)([\w.]+)=?(\S*)", text)
        if key and key[1] in known:
            default = known[key[1]]
            given = key[2].rstrip(":") or "nothing"
            kind = type(default).__name__
            text = f"--config.{key[1]} takes values like {default!r} ({kind}), not {given}"
        raise UserError(text) from error
    if rest:
        raise UserError(f"stray argument {rest[0]!r}; settings are --config.key=value")
    for key, value in leaves(result):
        if isinstance(value, tuple) and any(
            not isinstance(v, type(known[key][0])) for v in value if known[key]
        ):
            raise UserError(f"--config.{key} takes values like {known[key]}, not {value}")
    return result


def overridden(arguments: Sequence[str]) -> list[str]:
    """The dotted keys that command-line arguments set."""
    found = (re.match(r"--?(?:no)?config\.([^=]*)", argument) for argument in arguments)
    return [key[1] for key in found if key]


def leaves(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting as (dotted key, value), in the order of the config."""
    for key in config:
        if isinstance(config[key], ConfigDict):
            yield from leaves(config[key], f"{prefix}{key}.")
        else:
            yield prefix + key, config[key]


def used(config: ConfigDict) -> dict[str, Any]:
    """The leaves that matter: of each choice only the chosen row."""
    chosen = {}
    for key, value in leaves(config):
        parts = key.split(".")
        if len(parts) == 3 and parts[1] != config[parts[0]].get("name", parts[1]):
            continue
        chosen[key] = value
    return chosen


def save(config: ConfigDict, path: Path) -> None:
    """Write `config` as JSON, whole or not at all."""
    files.write_json(path, config.to_dict())


def _from_plain(plain: Any) -> ConfigDict:
    def convert(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: convert(v) for k, v in value.items()}
        return tuple(convert(v) for v in value) if isinstance(value, list) else value

    if not isinstance(plain, dict):
        raise ValueError("it must be an object of sections")
    return ConfigDict(convert(plain)).lock()
