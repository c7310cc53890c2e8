"""Train, sample from, evaluate, edit with, exchange and inspect diffusion models.

python launch.py --config configs/quickstart.py                    train; again: resume
python launch.py --config configs/quickstart.py --config.train.steps=100
python launch.py --mode sample --workdir runs/quickstart --config.sample.count=64
python launch.py --mode sample --workdir runs/shapes_text --prompt "a small red circle"
python launch.py --mode evaluate --workdir runs/quickstart         bits/dim
python launch.py --mode edit --workdir runs/quickstart --config.edit.name=inpaint
python launch.py --mode encode --workdir runs/toy --config.sampler.name=heun    pairs
python launch.py --mode import --config configs/cifar_linear.py --folder ddpm-cifar10-32
python launch.py --mode export --workdir runs/quickstart --folder for_diffusers
python launch.py --mode report --workdir runs --out report.html    all runs on one page
python launch.py --mode doctor --workdir runs/quickstart           is this run healthy?
python launch.py --config configs/quickstart.py --dry_run          show, do nothing
python launch.py --config configs/quickstart.py --sweep optim.lr=5e-4,1e-3   a run a value
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from ddm_jax.answering import Parser, answered
from ddm_jax.errors import UserError
from ddm_jax.interrupts import heard
from ddm_jax.output import one_voice

MODES = ("train", "sample", "evaluate", "edit", "encode", "doctor", "report", "import", "export")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, by default that of the process; the exit code.

    Every error that a user can mend is one line on stderr.
    """

    def work() -> int:
        with heard(), one_voice():
            return _run(*parse(sys.argv[1:] if arguments is None else arguments))

    return answered(work)


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """(flags, overrides of the config)."""
    parser = Parser(__doc__)
    parser.add_argument("--config", help="a .py file with get_config(), or a run's config.json")
    parser.add_argument("--mode", choices=MODES, default="train")
    folder = (
        "folder of the run (default: runs/<config name>); of a report any number (default: runs)"
    )
    parser.add_argument("--workdir", action="append", default=[], dest="workdirs", help=folder)
    parser.add_argument("--out", help="the page of a report (default: report.html)")
    folder = "of diffusers: what --mode import reads and --mode export writes"
    parser.add_argument("--folder", help=folder)
    prompts = "what to draw: a prompt, a class or a file of a picture; several are dealt in turn"
    parser.add_argument("--prompt", action="append", default=[], help=prompts)
    parser.add_argument("--prompts", help="a text file of prompts, one a line")
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="print config, parameters, data and devices, and stop",
    )
    traced = "trace so many steps of training and list their dearest operations"
    parser.add_argument("--profile", type=int, default=0, metavar="STEPS", help=traced)
    pod = "with --dry_run: compile a step for these TPUs, say what it takes"
    parser.add_argument("--pod", default="", metavar="v5p-256", help=pod)
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="join the other hosts; TPU pods and SLURM find each other",
    )
    parser.add_argument("--coordinator", help="host:port of process 0, elsewhere")
    parser.add_argument("--processes", type=int, help="how many processes there are, elsewhere")
    parser.add_argument("--process", type=int, help="which one this is, elsewhere")
    _add_sweep_flags(parser.add_argument_group("sweeps"))
    plain, overrides = [], []
    waiting = False  # for the value of `--config.key value`
    for argument in arguments:
        is_override = argument.startswith(("--config.", "-config.", "--noconfig."))
        if is_override or (waiting and not argument.startswith("--")):
            overrides.append(argument)
        else:
            plain.append(argument)
        waiting = is_override and "=" not in argument
    parsed = parser.parse_args(plain)
    parsed.workdir = parsed.workdirs[-1] if parsed.workdirs else None
    prompts = [*parsed.prompt, *(_lines(parsed.prompts) if parsed.prompts else [])]
    if prompts:
        if any(key.startswith("--config.sample.ask") for key in overrides):
            raise UserError("--prompt and --config.sample.ask are one setting; give one of them")
        overrides.append(f"--config.sample.ask={tuple(prompts)!r}")
    return parsed, overrides


def _lines(path: str) -> list[str]:
    """The lines of a text file that are not empty."""
    try:
        found = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise UserError(f"--prompts {path} cannot be read as text: {error}") from error
    if not any(found):
        raise UserError(f"--prompts {path} holds no prompts; write one a line")
    return [line for line in found if line]


def _add_sweep_flags(group: argparse._ArgumentGroup) -> None:
    values = 'key=a,b or "(key,key)=(a,b),(c,d)"; several multiply; alone: the sweep of the config'
    group.add_argument("--sweep", action="append", nargs="?", const="", help=values)
    group.add_argument("--sweep_index", type=int, help="train this cell alone, from 0")
    group.add_argument("--sweep_workers", type=int, default=1, help="cells at a time")
    group.add_argument("--sweep_submit", choices=("slurm", "local"), help="a job a cell: submitit")
    group.add_argument("--sweep_submit_options", default="", help="timeout_min=60,gpus_per_node=1")
    ends = "take the end of standard input for SIGTERM"
    group.add_argument("--end_with_input", action="store_true", help=ends)


def _run(flags: argparse.Namespace, overrides: list[str]) -> int:
    from ddm_jax import verbs
    from ddm_jax.config.load import default_workdir

    if flags.end_with_input:
        from ddm_jax.sweep.run import end_with_input

        end_with_input()
    if flags.mode == "report":
        return _report(flags, overrides)
    if flags.out or len(flags.workdirs) > 1:
        raise UserError("--out and several --workdir are for --mode report; leave them out")
    if flags.profile < 0 or (flags.profile and (flags.sweep or flags.mode != "train")):
        raise UserError("--profile is a number of steps, 1 or more, of training one run")
    if flags.pod and (flags.mode != "train" or flags.sweep):
        raise UserError("--pod takes --dry_run of training one run, without --mode and --sweep")
    if flags.sweep:
        return _sweep(flags, overrides)
    if flags.sweep_index is not None or flags.sweep_submit:
        raise UserError("--sweep_index and --sweep_submit need --sweep")
    exchanges = flags.mode in ("import", "export")
    if exchanges != bool(flags.folder):
        raise UserError("--mode import and --mode export, and they alone, need --folder")
    if not flags.config and (flags.mode in ("train", "import") or not flags.workdir):
        raise UserError("give --config, for example --config configs/quickstart.py")
    _join(flags)
    if flags.pod:
        from ddm_jax.training.layout import leave_accelerators

        leave_accelerators()
    if flags.mode == "train":
        how = {"profile": flags.profile, "pod": flags.pod}
        return verbs.train(flags.config, flags.workdir, overrides, flags.dry_run, **how)
    if flags.mode == "import":
        how = {"workdir": flags.workdir, "overrides": overrides, "dry_run": flags.dry_run}
        return verbs.import_weights(flags.config, flags.folder, **how)
    workdir = flags.workdir or default_workdir(flags.config)
    if flags.mode == "export":
        return verbs.export_weights(workdir, flags.folder, overrides, flags.dry_run)
    if flags.mode == "evaluate" and flags.config:
        from ddm_jax.runs import begun

        if not begun(workdir):
            return verbs.evaluate_samples(flags.config, workdir, overrides, flags.dry_run)
    uses = {"sample": verbs.sample, "evaluate": verbs.evaluate, "edit": verbs.edit}
    verb = {**uses, "encode": verbs.encode, "doctor": verbs.doctor}[flags.mode]
    return verb(workdir, overrides, flags.dry_run)


def _report(flags: argparse.Namespace, overrides: list[str]) -> int:
    from ddm_jax import verbs

    if overrides or flags.config or flags.sweep or flags.dry_run or flags.folder:
        raise UserError("--mode report reads folders; give --workdir and --out alone")
    return verbs.report(flags.workdirs or ["runs"], flags.out or "report.html")


def _sweep(flags: argparse.Namespace, overrides: list[str]) -> int:
    from ddm_jax.config.load import default_workdir
    from ddm_jax.sweep import plan, run
    from ddm_jax.verbs.entry import train_config

    if flags.mode != "train" or not flags.config:
        raise UserError("--sweep trains; give --config and leave --mode out")
    workdir = Path(flags.workdir or f"{default_workdir(flags.config)}_sweep")
    cells = plan.plan_cells(flags.config, flags.sweep, overrides, workdir)
    if flags.sweep_index is not None:
        cell = plan.pick(cells, flags.sweep_index)
        if cell.finished and not flags.dry_run:
            print(f"{cell.workdir} is finished")
            return 0
        _join(flags)
        with nullcontext() if flags.dry_run else plan.recorded(cell):
            return train_config(cell.config, cell.workdir, flags.dry_run)
    if flags.coordinator or (flags.distributed and not flags.sweep_submit):
        raise UserError("several hosts train one cell at a time; add --sweep_index")
    command = [*_itself(), "--config", flags.config]
    if flags.dry_run:
        plan.describe(cells)
        return 0
    if flags.sweep_submit:
        swept = [part for text in flags.sweep for part in ("--sweep", text) if part]
        command += [*swept, "--workdir", str(workdir), *overrides]
        command += ["--distributed"] * flags.distributed
        options = flags.sweep_submit_options
        return run.submit(cells, workdir, flags.sweep_submit, options, command=command)
    return run.run_cells(cells, workdir, flags.sweep_workers, command)


def _itself() -> list[str]:
    """How another process runs this command line: from the checkout, or as installed."""
    script = Path(__file__).resolve().parent.parent / "launch.py"
    return [sys.executable, str(script)] if script.exists() else [sys.executable, "-m", "ddm_jax"]


def _join(flags: argparse.Namespace) -> None:
    from ddm_jax.training.processes import join_processes

    join_processes(flags.distributed, flags.coordinator, flags.processes, flags.process)
