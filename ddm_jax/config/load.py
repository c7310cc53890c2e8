"""Configs from files, from JSON and from the command line."""

import inspect
import json
import os
import re
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from ddm_jax import files
from ddm_jax.config.schema import part
from ddm_jax.config.translate import renamed, translated
from ddm_jax.errors import UserError, unknown


def load_config(path: str) -> ConfigDict:
    """The config of a Python file with `get_config()` (or `file.py:argument`), or of a JSON file.

    A Python file is run, with the folder above its own on the import path, so that it can say
    `from configs import base`. A JSON file, as a run saves it, is only read.
    """
    file, argument = _found(path)
    if file.suffix == ".json":
        try:
            return _from_plain(translated(json.loads(file.read_text())))
        except (ValueError, AttributeError, RecursionError) as error:
            raise UserError(f"{path} is no config in JSON: {error}") from error
    config = call_file(path, {"get_config": (argument,) if argument else ()})
    if not isinstance(config, ConfigDict):
        kind = type(config).__name__
        raise UserError(f"get_config() of {path} gives {kind}; let it return the ConfigDict")
    return config


def _found(path: str) -> tuple[Path, str]:
    """The file of `file.py:argument`, which exists, and the argument."""
    name, _, argument = path.partition(":")
    file = Path(name)
    if file.suffix not in (".py", ".json"):
        raise UserError(f"{path}: a config is a .py file with get_config(), or a .json file")
    if not file.is_file():
        beside = sorted(str(p) for p in file.parent.glob("*" + file.suffix) if p.stem != "base")
        raise unknown("config file", path, beside or ["configs/quickstart.py"])
    return file, argument


def default_workdir(path: str) -> Path:
    """`runs/cifar_cosine` for configs/cifar_cosine.py and for runs/cifar_cosine/config.json.

    `runs/toy_moons` for configs/toy.py:moons, and `runs/folder_birds` for one of a path, my/birds.
    """
    file, argument = _found(path)
    stem = file.resolve().parent.name if file.name == "config.json" else file.stem
    return Path("runs") / (f"{stem}_{Path(os.path.abspath(argument)).name}" if argument else stem)


def call_file(path: str, functions: Mapping[str, tuple]) -> Any:
    """What the first of the functions that a Python file has gives for its arguments."""
    name, _, _ = path.partition(":")
    above = str(Path(name).resolve().parent.parent)
    try:
        sys.path.insert(0, above)
        module = runpy.run_path(name)
        for function, arguments in functions.items():
            if function in module:
                _check_argument(module[function], arguments, path)
                return module[function](*arguments)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        frames = reversed(traceback.extract_tb(error.__traceback__))
        line = next((f.lineno for f in frames if f.filename.endswith(name)), "?")
        text = " ".join(str(error).split())
        raise UserError(f"{path}, line {line}: {type(error).__name__}: {text}") from error
    finally:
        sys.path.remove(above)
    wanted = " or ".join(f"{function}()" for function in functions)
    raise UserError(f"{path} has no function {wanted}, which this needs; add it")


def _check_argument(function: Callable[..., Any], arguments: tuple, path: str) -> None:
    """UserError where a path has an argument and the function takes none, or needs one."""
    name, _, given = path.partition(":")
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        text = f"{function.__name__}() in {name}"
        if given:
            raise UserError(f"{text} takes no argument; leave out :{given}") from error
        if not arguments:
            raise UserError(f"{text} needs an argument: {name}:<argument>") from error


class _Silent(ConfigDict):
    """A config without a text, for which absl asks twice: in YAML it takes longer than the rest."""

    def __str__(self) -> str:
        return ""


def override(config: ConfigDict, arguments: Sequence[str]) -> ConfigDict:
    """A copy of `config` with command-line arguments `--config.a.b=value` applied.

    Values are read by the type that the config already has there. Raises UserError for an
    unknown key (with the nearest one) and for a value of the wrong type.
    """
    known = dict(leaves(config))
    for key in overridden(arguments):
        if key == "task":
            raise UserError("the config file sets the task, since its sections follow from it")
        if key not in known:
            if any(name.startswith(key + ".") for name in known):
                inside = ", ".join(n for n in known if n.startswith(key + "."))
                raise UserError(f"--config.{key} is a section; set one of {inside}")
            if renamed(key) in known:
                raise UserError(f"--config.{key} is called --config.{renamed(key)} now")
            close = unknown("key", key, known).args[0].split(" choose one of")[0].rstrip(";")
            raise UserError(f"{close} (--dry_run prints every key)")
    values = flags.FlagValues()
    argv = ["launch.py", *_last_ones(arguments)]
    try:
        copy = _Silent(config.to_dict())
        config_flags.DEFINE_config_dict("config", copy, flag_values=values, sys_argv=argv)
        rest = values(argv)[1:]
        result = ConfigDict(values.config.to_dict())
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
        if _lists_names(known[key]) and isinstance(value, tuple):
            value = tuple(name.strip() for v in value for name in str(v).split(",") if name.strip())
            result.update_from_flattened_dict({key: value})
        wanted = type(known[key][0]) if isinstance(value, tuple) and known[key] else object
        wanted = (int, float) if wanted is float else wanted
        if isinstance(value, tuple) and not all(isinstance(v, wanted) for v in value):
            raise UserError(f"--config.{key} takes values like {known[key]}, not {value}")
    return result


def _last_ones(arguments: Sequence[str]) -> list[str]:
    """Arguments without those of a key that a later one sets again; absl would join tuples."""
    found: dict[str, list[str]] = {}
    key = ""
    for argument in arguments:
        if keys := overridden([argument]):
            (key,) = keys
            found.pop(key, None)
        found.setdefault(key, []).append(argument)
    return [argument for group in found.values() for argument in group]


def _lists_names(default: Any) -> bool:
    """Whether a setting takes several names, which hold no commas: `a,b` is two of them."""
    names = isinstance(default, tuple) and bool(default)
    return names and all(isinstance(v, str) and v.isidentifier() for v in default)


def settled(
    config: ConfigDict, values: Mapping[str, Any], arguments: Sequence[str], free: tuple[str, ...]
) -> ConfigDict:
    """A copy of `config` with `values` by their dotted keys.

    Arguments of the command line stand above values whose keys begin with one of `free`; UserError
    for those that set another of them otherwise.
    """
    given, known = set(overridden(arguments)), dict(leaves(config))
    ours = {key for key in given & values.keys() if key.startswith(free)}
    for key in sorted(given & values.keys() - ours):
        if known[key] != values[key]:
            raise UserError(
                f"--config.{key}={known[key]!r} is not what the weights are for, {values[key]!r}; "
                "leave it out"
            )
    copy = ConfigDict(config.to_dict()).lock()
    copy.update_from_flattened_dict({k: v for k, v in values.items() if k not in ours})
    return copy


def overridden(arguments: Sequence[str]) -> list[str]:
    """The dotted keys that command-line arguments set."""
    found = (re.match(r"--?(?:no)?config\.([^=]*)", argument) for argument in arguments)
    return [key[1] for key in found if key]


def leaves(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting as (dotted key, value), in the order of the config."""
    for key in config:
        value = part(config, key)
        if isinstance(value, ConfigDict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def used(config: ConfigDict) -> dict[str, Any]:
    """The leaves that matter: of each choice only the chosen row."""
    chosen = {}
    for key, value in leaves(config):
        parts = key.split(".")
        if len(parts) == 3 and parts[1] != part(config, parts[0]).get("name", parts[1]):
            continue
        chosen[key] = value
    return chosen


def save_config(config: ConfigDict, path: Path) -> None:
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
