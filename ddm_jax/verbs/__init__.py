"""What can be done with a run.

Each verb is a function, in a notebook as on the command line:

    from ddm_jax import verbs

    verbs.train("configs/quickstart.py", overrides=["--config.train.steps=1000"])
    verbs.sample("runs/quickstart", overrides=["--config.sample.count=64"])
    run = verbs.open("runs/quickstart")
    images = run.setup.task.generator.generate(run.load().weights, jax.numpy.arange(8))
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ddm_jax.verbs.opened import Opened


def train(
    config: str | Path,
    workdir: str | Path | None = None,
    overrides: Sequence[str] = (),
    dry_run: bool = False,
    *,
    profile: int = 0,
    pod: str = "",
) -> int:
    """Train the config file `config` in `workdir`, by default `runs/<config name>`.

    overrides: as on the command line, `--config.train.steps=1000`. profile: so many steps are
    traced, and their dearest operations listed, in the folder `profile` of the run. pod: TPUs, as
    v5p-256, for which a dry run compiles a step and says what it takes. Returns the exit code, 0 at
    the end. Raises UserError for whatever is wrong, with the remedy, and RunError for a run that
    had to stop.
    """
    from ddm_jax.config.load import default_workdir
    from ddm_jax.config.tables import read
    from ddm_jax.verbs.entry import train_config

    place = Path(workdir or default_workdir(str(config)))
    how = {"profile": profile, "pod": pod}
    return train_config(read(str(config), overrides), place, dry_run, **how)


def sample(workdir: str | Path, overrides: Sequence[str] = (), dry_run: bool = False) -> int:
    """Draw images from the run in `workdir` into its `samples/`."""
    return _use("sample", workdir, overrides, dry_run)


def evaluate(workdir: str | Path, overrides: Sequence[str] = (), dry_run: bool = False) -> int:
    """Measure the run in `workdir` by `evaluate.metrics`, into its `evaluation/`."""
    return _use("evaluate", workdir, overrides, dry_run)


def evaluate_samples(
    config: str | Path,
    workdir: str | Path | None = None,
    overrides: Sequence[str] = (),
    dry_run: bool = False,
) -> int:
    """Measure the samples of `evaluate.source` against the data of the config file `config`.

    They may be of any project: no trained run is needed. The numbers go into the `evaluation/` of
    `workdir`, by default `runs/<config name>`. Returns the exit code, 0.
    """
    from ddm_jax.config.load import default_workdir
    from ddm_jax.config.tables import read
    from ddm_jax.verbs.entry import measure_samples

    place = Path(workdir or default_workdir(str(config)))
    return measure_samples(read(str(config), overrides), place, dry_run)


def edit(workdir: str | Path, overrides: Sequence[str] = (), dry_run: bool = False) -> int:
    """Edit with the run in `workdir` as `edit.name` says, into its `edits/`."""
    return _use("edit", workdir, overrides, dry_run)


def encode(workdir: str | Path, overrides: Sequence[str] = (), dry_run: bool = False) -> int:
    """Encode for other runs: `sample.count` pairs of noise and sample of a diffusion model's run in
    `workdir` into its `pairs/`, or the latents that an autoencoder's makes of its data."""
    return _use("encode", workdir, overrides, dry_run)


def import_weights(
    config: str | Path,
    folder: str | Path,
    *,
    workdir: str | Path | None = None,
    overrides: Sequence[str] = (),
    dry_run: bool = False,
) -> int:
    """Make a run in `workdir` of a network of diffusers in `folder`, for the data of `config`.

    workdir: by default `runs/<config name>`; it must be free. Returns the exit code, 0. Raises
    UserError for what our network has no equal of, and for files that are broken.
    """
    from ddm_jax.config.load import default_workdir
    from ddm_jax.verbs.exchanging import import_run

    place = Path(workdir or default_workdir(str(config)))
    return import_run(
        str(config), Path(folder), workdir=place, overrides=overrides, dry_run=dry_run
    )


def export_weights(
    workdir: str | Path,
    folder: str | Path,
    overrides: Sequence[str] = (),
    dry_run: bool = False,
) -> int:
    """Write the averaged weights of the run in `workdir` into a new `folder`, for diffusers.

    overrides: how it is to be sampled from there. Returns the exit code, 0. Raises UserError for
    what diffusers has no equal of.
    """
    from ddm_jax.verbs.exchanging import export_run

    return export_run(Path(workdir), Path(folder), overrides, dry_run)


def report(workdirs: Sequence[str | Path], out: str | Path = "report.html") -> int:
    """Write one page of all runs in the folders, the .html file `out`, and a .csv beside it."""
    from ddm_jax.verbs.reporting import report

    report([Path(workdir) for workdir in workdirs], Path(out))
    return 0


def doctor(workdir: str | Path, overrides: Sequence[str] = (), dry_run: bool = False) -> int:
    """Say whether the run in `workdir` is healthy, into its `doctor/`; 1 where it is not."""
    return _use("doctor", workdir, overrides, dry_run)


def open(workdir: str | Path, overrides: Sequence[str] = ()) -> "Opened":
    """The run in `workdir`, to compute with: its setup, and by `load` its weights."""
    from ddm_jax.verbs.opened import open_run

    return open_run(workdir, overrides)


def _use(verb: str, workdir: str | Path, overrides: Sequence[str], dry_run: bool) -> int:
    from ddm_jax.verbs.entry import use_run

    return use_run(verb, Path(workdir), overrides, dry_run)
