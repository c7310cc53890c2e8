"""A run's folder: who may write it, and which config and data it belongs to."""

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from ddm_jax import files
from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config, override, save_config, used
from ddm_jax.config.tables import FREE, complete
from ddm_jax.data import dataset
from ddm_jax.data.dataset import Dataset, Spec
from ddm_jax.errors import UserError
from ddm_jax.recipe import Recipe
from ddm_jax.training.checkpoint import Checkpoints


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Hold the folder for training; the system lets go of it however the process ends."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / ".lock").open("w")
    except OSError as error:
        raise UserError(f"cannot write to {workdir}: {error.strerror}; give --workdir") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"another process trains in {workdir}; wait for it, or give another --workdir"
            ) from None
        yield


def busy(workdir: Path) -> bool:
    """Whether a process holds the folder for training."""
    try:
        with (workdir / ".lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def check_same(config: ConfigDict, workdir: Path) -> None:
    """UserError where the folder holds a run with other settings that touch the weights."""
    if not (workdir / "config.json").exists():
        return
    saved, now = used(saved_config(workdir)), used(config)
    differ = [
        f"{key} is {now.get(key)!r}, was {saved.get(key)!r}"
        for key in sorted(saved.keys() | now.keys())
        if saved.get(key) != now.get(key) and not key.startswith(FREE)
    ]
    if differ:
        more = f" (and {len(differ) - 3} more)" if len(differ) > 3 else ""
        raise UserError(
            f"{workdir} holds a run with other settings: {'; '.join(differ[:3])}{more}"
            "; undo the change, or give another --workdir"
        )


def check_same_data(spec: Spec, workdir: Path) -> None:
    """UserError where the folder holds a run on other data."""
    if (workdir / "data.json").exists():
        dataset.check_same_data(spec, saved_spec(workdir))


def record(config: ConfigDict, data: Dataset, workdir: Path) -> None:
    """Write the run's config.json and data.json, and data_report.json where files were left out."""
    save_config(config, workdir / "config.json")
    files.write_json(workdir / "data.json", asdict(data.spec))
    report = [{"file": file, "reason": reason} for file, reason in data.problems]
    if report:
        files.write_json(workdir / "data_report.json", report)


def saved_config(workdir: Path) -> ConfigDict:
    """The config of the run in `workdir`."""
    if not (workdir / "config.json").exists():
        raise UserError(f"no run in {workdir}; train first, or name its folder with --workdir")
    return complete(load_config(str(workdir / "config.json")))


def saved_spec(workdir: Path) -> Spec:
    """The data that the run in `workdir` was trained on."""
    try:
        return Spec.read(json.loads((workdir / "data.json").read_text()))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{workdir / 'data.json'} is missing or broken; remove it and train, which writes it"
        ) from error


def saved_recipe(workdir: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of the run in `workdir`, with overrides that touch no weight.

    overrides: as on the command line, `--config.sampler.name=heun`.
    """
    config = override(saved_config(workdir), overrides)
    check_same(config, workdir)
    return assemble(config, saved_spec(workdir))


def averaged_weights(recipe: Recipe, workdir: Path) -> tuple[int, Any]:
    """(step, averaged parameters) of the newest usable checkpoint."""
    checkpoints = Checkpoints(workdir / "checkpoints", read_only=True)
    found = checkpoints.restore(jax.eval_shape(recipe.init_state), ("ema_params",), print)
    if found is None:
        raise UserError(
            f"no usable checkpoint in {workdir / 'checkpoints'}; train first, or put a copy back"
        )
    step, fields = found
    return step, fields["ema_params"]
