"""What a run has of other runs, and learns of its data, before its parts are built."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from ddm_jax import files, runs
from ddm_jax.config.assemble import assemble, loans, make_task
from ddm_jax.config.load import override
from ddm_jax.config.schema import part
from ddm_jax.config.setup import Setup
from ddm_jax.config.suiting import suited
from ddm_jax.config.tables import task_of
from ddm_jax.data.dataset import Dataset, Spec
from ddm_jax.errors import UserError
from ddm_jax.runs import Run
from ddm_jax.training.checkpoint import Checkpoints


def borrow(config: ConfigDict, workdir: Path, training: bool) -> dict[str, Run]:
    """The runs that a config borrows, by role, each at the step that borrowed.json has for it.

    training: whether those that the loss alone reads are needed too.
    """
    recorded, found = borrowed(workdir), {}
    for role, name in loans(config).items():
        loan = task_of(config).borrows[role]
        if not (training or loan.using):
            continue
        try:
            run = runs.open(name)
        except UserError as error:
            raise UserError(f"--config.{loan.key}={name}: {error}") from error
        kind = part(run.config, "task")
        if kind != loan.task:
            raise UserError(
                f"--config.{loan.key}={name} is a run of task {kind!r}; this takes one of "
                f"{loan.task!r}"
            )
        if run.step is None and loan.training and role in recorded:
            run = Run(run.folder, recorded[role]["step"], run.config, run.spec)
        found[role] = run
    return found


def borrowed(workdir: Path) -> dict[str, Any]:
    """What borrowed.json says the run in `workdir` was trained with, by role."""
    path = workdir / "borrowed.json"
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
        return {role: {**row, "step": int(row["step"])} for role, row in found.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is broken ({error}); put a good copy back") from error


def keep_borrowed(
    config: ConfigDict, origins: Mapping[str, Mapping[str, Any]], workdir: Path
) -> None:
    """Write what the weights of a run depend on, by role, into borrowed.json: name and origin.

    UserError where the run was begun with other weights; what is written there already stays.
    """
    roles = {r for r, loan in task_of(config).borrows.items() if loan.training} | {"init"}
    names = {**loans(config), "init": part(part(config, "init"), "run")}
    new = {r: {"run": names[r], **origin} for r, origin in origins.items() if r in roles}
    recorded = borrowed(workdir)
    for role in new.keys() & recorded.keys():
        was = recorded[role]
        if new[role]["sha256"] != was.get("sha256"):
            raise UserError(
                f"{workdir} was trained with the weights of {was.get('run')} at step {was['step']} "
                f"as its {role}, and those of {names[role]} are others; bring them back, or train "
                "anew in another --workdir"
            )
    if new.keys() - recorded.keys():
        files.write_json(workdir / "borrowed.json", {**new, **recorded})


def first_weights(name: str, workdir: Path) -> Run | None:
    """The run that a fresh run takes its first weights from; None for one that has begun."""
    if not name or Checkpoints(workdir / "checkpoints", read_only=True).steps():
        return None
    try:
        run = runs.open(name)
    except UserError as error:
        raise UserError(f"--config.init.run={name}: {error}") from error
    recorded = borrowed(workdir).get("init")
    if run.step is None and recorded:
        run = Run(run.folder, recorded["step"], run.config, run.spec)
    return run


def assembled(
    config: ConfigDict, spec: Spec, workdir: Path, training: bool, *, platform: str = ""
) -> tuple[Setup, dict[str, Run]]:
    """The setup of a config for the run in `workdir`, and the runs that it borrows, by role.

    platform: of the devices that compute, which have what they lack replaced, see `suited`; the
    setup warns of it.
    """
    lent = borrow(config, workdir, training)
    own, lines = suited(config, platform)
    tasks = {role: run.task(platform) for role, run in lent.items()}
    setup = assemble(config, spec, tasks)  # whose warnings hold wherever it is computed
    if lines:
        setup = replace(assemble(own, spec, tasks), warnings=(*setup.warnings, *lines))
    return setup, lent


def use(workdir: Path, overrides: Sequence[str] = ()) -> tuple[Run, Setup, dict[str, Run]]:
    """(the run in `workdir`, its setup, the runs that it borrows to be used).

    overrides: as on the command line, `--config.sampler.name=heun`; none may touch the weights.
    """
    run = runs.open(workdir)
    config = override(run.config, overrides)
    runs.check_same(config, run.folder)
    setup, lent = assembled(config, run.spec, run.folder, training=False)
    return Run(run.folder, run.step, config, run.spec), setup, lent


def taught(config: ConfigDict, data: Dataset, workdir: Path) -> Dataset:
    """The data, whose Spec holds what the run in `workdir` learnt of them, or learns now."""
    if (workdir / "data.json").exists():
        was = runs.saved_spec(workdir)
        return replace(data, spec=replace(data.spec, learnt=was.learnt, latents=was.latents))
    spec = data.spec
    if (role := "autoencoder") in loans(config):
        run = borrow(config, workdir, training=True)[role]
        if run.spec.values != spec.values:
            raise UserError(
                f"--config.{task_of(config).borrows[role].key}={loans(config)[role]} is a run on "
                f"{run.spec.name}, whose examples are not like those of {spec.name}; take one on "
                "the same data"
            )
        saved = run.saved()
        task: Any = run.task()
        latents = task.measured(saved.params, data.columns["x"], saved.sha256)
        spec = replace(spec, latents=latents)
    learnt = make_task(config, spec, {}).learn(data.columns)
    return replace(data, spec=replace(spec, learnt=learnt))


def check_latents(spec: Spec, origins: Mapping[str, Mapping[str, Any]], workdir: Path) -> None:
    """UserError where latents are to be made with other weights than those that were measured."""
    found = origins.get("autoencoder")
    if spec.latents and found and found["sha256"] != spec.latents.sha256:
        raise UserError(
            f"the latents of {workdir} were made with other weights of its autoencoder; bring them "
            "back, or train anew in another --workdir"
        )
