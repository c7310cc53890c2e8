"""A run's folder: which config and data it belongs to, and what it holds."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from ddm_jax import files
from ddm_jax.config.assemble import make_average, make_task
from ddm_jax.config.load import load_config, save_config, used
from ddm_jax.config.suiting import suited
from ddm_jax.config.tables import complete, free
from ddm_jax.data import dataset
from ddm_jax.data.dataset import Dataset, Spec
from ddm_jax.diffusion.losses.base import Params
from ddm_jax.errors import UserError
from ddm_jax.tasks.base import Task
from ddm_jax.training.averages import Average
from ddm_jax.training.checkpoint import Checkpoints
from ddm_jax.training.weights import digest_of


def check_same(config: ConfigDict, workdir: Path) -> None:
    """UserError where the folder holds a run with other settings that touch the weights."""
    if not (workdir / "config.json").exists():
        return
    saved, now = used(saved_config(workdir)), used(config)
    differ = [
        f"{key} is {now.get(key)!r}, was {saved.get(key)!r}"
        for key in sorted(saved.keys() | now.keys())
        if saved.get(key) != now.get(key) and not key.startswith(free(config))
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
        raise UserError(f"no run in {workdir}; train first, or name the folder of a run")
    return complete(load_config(str(workdir / "config.json")))


def saved_spec(workdir: Path) -> Spec:
    """The data that the run in `workdir` was trained on."""
    try:
        return Spec.read(json.loads((workdir / "data.json").read_text()))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{workdir / 'data.json'} is missing or broken; remove it and train, which writes it"
        ) from error


class Saved(NamedTuple):
    """Weights as they were found: at which step, and the sha256 of their leaves."""

    step: int
    params: Params
    sha256: str

    @property
    def origin(self) -> dict[str, Any]:
        """What tells them from others, wherever they lie."""
        return {"step": self.step, "sha256": self.sha256}


@dataclass(frozen=True)
class Run:
    """A trained run, opened; step: the checkpoint that is asked for, None for the newest."""

    folder: Path
    step: int | None
    config: ConfigDict
    spec: Spec

    def task(self, platform: str = "") -> Task:
        """What it does, without what it borrowed itself, on devices of `platform`: see `suited`."""
        return make_task(suited(self.config, platform)[0], self.spec, {})

    def shapes(self) -> Params:
        """The shapes of its parameters."""
        return jax.eval_shape(self.task().init, jax.random.key(0))

    def saved(self, raw: bool = False) -> Saved:
        """Its averaged weights, of the newest usable checkpoint or of the one asked for.

        raw: those of the last step instead. Averages may be made of earlier checkpoints too.
        """
        directory = self.folder / "checkpoints"
        checkpoints = Checkpoints(directory, read_only=True)
        average = make_average(self.config)
        averaged = jax.eval_shape(average.init, self.shapes())
        field, like = ("params", self.shapes()) if raw else ("ema_params", averaged)
        found = checkpoints.restore(SimpleNamespace(**{field: like}), (field,), print, self.step)
        if found is None and self.step is not None:
            there = ", ".join(map(str, sorted(checkpoints.steps()))) or "none"
            raise UserError(f"{directory} has no usable step {self.step}; there are: {there}")
        if found is None:
            raise UserError(f"no usable checkpoint in {directory}; train first, or put a copy back")
        step, fields = found
        params = fields[field]
        if not raw:
            params = averaged_at(step, params, average, checkpoints=checkpoints, like=averaged)
        return Saved(step, params, digest_of(params))

    def shaping(self) -> dict[str, Any]:
        """The settings that touch its weights, as JSON has them."""
        ignored = free(self.config)
        chosen = {k: v for k, v in used(self.config).items() if not k.startswith(ignored)}
        return json.loads(json.dumps(chosen))


def averaged_at(
    step: int, memory: Any, average: Average, *, checkpoints: Checkpoints, like: Any
) -> Params:
    """The averaged weights at `step`, from what is kept there and in checkpoints before it.

    memory: what is kept at the step; like: the shapes of that. UserError where what the average
    needs is not there.
    """
    steps = sorted(s for s in checkpoints.steps() if s <= step)
    while True:
        try:
            shares = average.shares(steps)
        except ValueError as error:
            raise UserError(f"average: {error}") from error
        total = None
        for kept, share in shares.items():
            source = memory
            if kept != step:
                place = SimpleNamespace(ema_params=like)
                found = checkpoints.restore(place, ("ema_params",), print, kept)
                if found is None:  # damaged, as was said: without it
                    steps.remove(kept)
                    break
                source = found[1]["ema_params"]
            part = average.portion(source, share)
            total = part if total is None else jax.tree.map(np.add, total, part)
        else:
            return jax.tree.map(lambda a: np.asarray(a, np.float32), total)


def _parts(name: str | Path) -> tuple[Path, str]:
    """The folder in `runs/x`, `runs/x@500` or `runs/x@best`, and the step, "" for none."""
    folder, _, step = str(name).rpartition("@")
    known = step == "best" or (step.isascii() and step.isdigit())
    return (Path(folder), step) if folder and known else (Path(name), "")


def begun(name: str | Path) -> bool:
    """Whether there is a run in a folder, which may be named with a step."""
    return (_parts(name)[0] / "config.json").exists()


def open(name: str | Path) -> Run:
    """The run in a folder, or at one of its checkpoints: `runs/x`, `runs/x@500`, `runs/x@best`."""
    path, step = _parts(name)
    config, spec = saved_config(path), saved_spec(path)
    if not step:
        return Run(path, None, config, spec)
    if step != "best":
        return Run(path, int(step), config, spec)
    if not (found := best(path)):
        raise UserError(
            f"{path} has no best step; a run that is trained with train.evaluate_every has, and "
            f"{path}@<step> is that of any checkpoint"
        )
    return Run(path, found["step"], config, spec)


def best(folder: Path) -> dict[str, Any]:
    """What best.json says of the run in a folder: step, name and value; empty where there is none,
    or none that can be read."""
    try:
        found = json.loads((folder / "best.json").read_text())
        return {"step": int(found["step"]), "name": found["name"], "value": float(found["value"])}
    except (OSError, ValueError, TypeError, KeyError):
        return {}
