"""What training writes besides pictures of its task: metrics, checkpoints, curves, its end.

The first process writes, and where it cannot, all of them raise.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ddm_jax import files
from ddm_jax.config.setup import Setup
from ddm_jax.figures import losses
from ddm_jax.training import logs
from ddm_jax.training.layout import Layout
from ddm_jax.training.processes import together
from ddm_jax.training.saving import Saving
from ddm_jax.training.step import Metrics, TrainState
from ddm_jax.verbs.bad_steps import BadSteps, diverged


class Records(NamedTuple):
    """What a run writes and tells with; on the first process alone it writes."""

    checkpoints: Saving
    log: logs.MetricLog | None
    meter: logs.Meter
    progress: logs.Progress
    bad: BadSteps


def report(
    setup: Setup, layout: Layout, records: Records, done: Iterable[tuple[int, Metrics]]
) -> bool:
    """Count steps that are done and log where a row is due.

    Returns whether one of them takes the weights back to the newest checkpoint, after which none is
    awaited; RunError where one stops the run.
    """
    checkpoints, log, meter, progress, bad = records
    options = setup.train
    for step, metrics in done:
        if bad.went_wrong(step, metrics):
            return True
        if metrics.finite:
            meter.add(metrics)
        progress.advance(step)
        if meter.steps and (step % options.log_every == 0 or step == options.steps):
            row = meter.row(step, float(setup.optim.rate(step - 1, options.steps)))
            with together(layout):
                checkpoints.check()
                if log:
                    log.write(row)
            progress.row(row)
    return False


def write_state(
    checkpoints: Saving, step: int, state: TrainState, spared: int | None = None
) -> None:
    """Begin to write a checkpoint; RunError where an array is not finite, of all processes.

    spared: the step of one that stays.
    """
    bad = checkpoints.save(step, state, spared)
    with together(checkpoints.layout):
        if bad and checkpoints.layout.first:
            raise diverged(
                f"step {step}: the loss is finite, but {bad} arrays of the weights and of the "
                "optimiser's memory are not after the update",
                checkpoints,
            )


def write_curves(setup: Setup, workdir: Path) -> None:
    """Draw what metrics.jsonl holds."""
    rows, unit = logs.metrics(workdir), setup.task.unit
    if rows:
        losses.loss_curve(rows, workdir / "loss.png", unit)
    for key in rows[-1] if rows else ():
        if key.endswith("_by_level"):
            name = key.removesuffix("_by_level")
            losses.by_level(rows, workdir / f"{key}.png", name, unit)


def write_done(setup: Setup, workdir: Path, step: int) -> None:
    """Say that the run has ended: all is drawn and the last checkpoint is on the disk."""
    last = logs.metrics(workdir)[-1:]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    loss = last[0]["loss"] if last else None
    done = {"step": step, "loss": loss, "time": now, "parameters": setup.parameter_count()}
    files.write_json(workdir / "done.json", done)
