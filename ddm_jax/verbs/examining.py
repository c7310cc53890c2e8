"""Examine a trained run: is it healthy, and if not, what is wrong with it."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ddm_jax import files
from ddm_jax.errors import UserError
from ddm_jax.evaluation import references
from ddm_jax.evaluation.diagnosis import Finding, diagnose
from ddm_jax.evaluation.health import Checkup, Curve, Values
from ddm_jax.figures import losses
from ddm_jax.training.layout import Layout
from ddm_jax.training.processes import together
from ddm_jax.verbs import names
from ddm_jax.verbs.checkup import checkup
from ddm_jax.verbs.opened import Opened, Origins

_SHAPES_NOTHING = ("batch", "write")  # of the `doctor` section


def examine(opened: Opened, layout: Layout) -> int:
    """Print what is found and write `doctor/step_<step>_<digest>.json` and `.png`.

    The digest is that of the file's `settings`. Returns 0 for a healthy run and 1 for another.
    """
    with together(layout):
        reference = known_curve(opened)
    step, weights, origins = opened.load(layout)
    layout.say(f"examining step {step:,} of {opened.folder} on {layout.describe()}")
    seen = checkup(opened, layout, step=step, weights=weights, reference=reference)
    findings = diagnose(seen)
    ill = list(dict.fromkeys(finding.name for finding in findings if finding.ill))
    with together(layout):
        if layout.first:
            for line in report(seen, findings):
                print(line)
            state = f"NOT healthy: {', '.join(ill)}" if ill else "healthy"
            print(f"{opened.folder} at step {step:,} is {state}")
            write(opened, seen, findings, origins)
    return 1 if ill else 0


def known_curve(opened: Opened) -> Curve | None:
    """The curve that `doctor.reference` names, or the one that ships for these settings, if any."""
    named = opened.setup.task.doctor.reference
    if not named:
        return references.matching(opened.run.shaping(), references.shipped())
    try:
        return references.read(Path(named))[0]
    except ValueError as error:
        raise UserError(f"doctor.reference: {error}; make one with doctor.write") from error


def curves(seen: Checkup) -> dict[str, np.ndarray]:
    """Errors of x_0 by level (L,), by what makes them."""
    found = {
        "averaged weights": seen.averaged.mean,
        "raw weights": seen.raw.mean,
        "gaussian denoiser": seen.gaussian,
        "best constant": np.full(len(seen.times), seen.x.spread),
    }
    if seen.told:
        found["another's condition"] = seen.raw.mean + seen.told.gain.mean
    if seen.reference:
        found[f"reference {seen.reference.name}"] = seen.reference.at(seen.times)
    return found


def report(seen: Checkup, findings: list[Finding]) -> Iterator[str]:
    """The table by noise level and the findings, for the eye."""
    rows = {"t": seen.times, "log-SNR": seen.logsnr, **curves(seen)}
    yield "mean squared error of x_0, per element, by noise level"
    for name, row in rows.items():
        yield f"  {name:22}" + "".join(f"{value:9.4f}" for value in row)
    if not seen.full:
        yield (
            "  the gaussian denoiser takes elements for independent: their covariance needs two "
            "examples an element, and few enough elements"
        )
    if seen.reference and seen.step < seen.reference.step:
        yield f"  the reference is of step {seen.reference.step:,}"
    log = seen.log
    if len(log.loss):
        clipped = (log.grad_norm > seen.clip).mean() if seen.clip else 0.0
        yield (
            f"training loss {log.loss[0]:.4f} at step {log.step[0]:,.0f}, {log.loss[-1]:.4f} at "
            f"step {log.step[-1]:,.0f}; gradient norm {log.grad_norm[-1]:.3g}, mean above the clip "
            f"in {clipped:.0%} of the rows; learning rate {log.lr[-1]:.3g} of {seen.lr:g}"
        )
    if seen.limits is not None:
        yield f"the data fill {seen.used:.0%} of the range of their values"
    if seen.data and seen.samples:
        yield f"by channel: data {moments(seen.data)}; samples {moments(seen.samples)}"
    for finding in findings:
        yield f"{'wrong' if finding.ill else 'note'}: {finding.text}"


def moments(of: Values) -> str:
    """`mean 0.31 deviation 0.38 from 0 to 1`, a channel after the other."""
    rows = zip(of.mean, of.std, of.low, of.high, strict=True)
    text = "mean {:.3g} deviation {:.3g} from {:.3g} to {:.3g}"
    return ", ".join(text.format(*row) for row in rows)


def settings(opened: Opened, origins: Origins) -> dict[str, Any]:
    """What shapes the result beside the weights and the data."""
    task = opened.setup.task
    options = {k: v for k, v in asdict(task.doctor).items() if k not in _SHAPES_NOTHING}
    return {**options, **names.drawing(task.generator, origins)}


def write(opened: Opened, seen: Checkup, findings: list[Finding], origins: Origins) -> None:
    """The files of the verb, and the curve that `doctor.write` asks for."""
    shaped = settings(opened, origins)
    path = opened.folder / "doctor" / f"step_{seen.step}_{names.digest(shaped)}"
    result = {
        "healthy": not any(finding.ill for finding in findings),
        "findings": [finding._asdict() for finding in findings],
        "settings": shaped,
        "checkup": plain(seen),
    }
    files.write_json(path.with_suffix(".json"), result)
    losses.by_time(seen.times, curves(seen), path.with_suffix(".png"))
    print(f"wrote {path}.json and {path}.png")
    if named := opened.setup.task.doctor.write:
        files.write_json(Path(named), curve_of(opened, seen))
        print(f"wrote {named}")


def curve_of(opened: Opened, seen: Checkup) -> dict[str, Any]:
    """The run's curve as references read it."""
    options = opened.setup.task.doctor
    return {
        "step": seen.step,
        "examples": min(options.examples, opened.setup.spec.count),
        "seed": options.seed,
        "settings": opened.run.shaping(),
        "times": rounded(seen.times),
        "x0_mse": rounded(seen.averaged.mean),
    }


def rounded(row: np.ndarray) -> list[float]:
    """Six digits of each, for files that people read."""
    return [float(f"{value:.6g}") for value in row]


def plain(value: Any) -> Any:
    """Named tuples, arrays and numbers as JSON has them."""
    if hasattr(value, "_asdict"):
        return {name: plain(inner) for name, inner in value._asdict().items()}
    if isinstance(value, tuple):
        return [plain(inner) for inner in value]
    return value.tolist() if isinstance(value, np.ndarray) else value
