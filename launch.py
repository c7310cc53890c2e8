"""Train, sample from, evaluate, edit with and inspect diffusion models.

python launch.py --config configs/quickstart.py                    train; again: resume
python launch.py --config configs/quickstart.py --config.train.steps=100
python launch.py --mode sample --workdir runs/quickstart --config.sample.count=64
python launch.py --mode evaluate --workdir runs/quickstart         bits/dim
python launch.py --mode edit --workdir runs/quickstart --config.edit.kind=interpolate
python launch.py --config configs/quickstart.py --dry_run          show, do nothing
python launch.py --config configs/quickstart.py --sweep optim.lr=5e-4,1e-3   a run a value
"""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import absl.logging

from ddm_jax.errors import RunError, UserError


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit code. Every error that a user can mend is one line on stderr."""
    absl.logging.set_verbosity(absl.logging.ERROR)
    try:
        return _run(*_parse(arguments))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise UserError(f"{message} (--help shows the command line)")


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """(flags, overrides of the config)."""
    parser = _Parser(
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", help="a .py file with get_config(), or a run's config.json")
    parser.add_argument("--mode", choices=("train", "sample", "evaluate", "edit"), default="train")
    parser.add_argument("--workdir", help="folder of the run (default: runs/<config name>)")
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="print config, parameters, data and devices, and stop",
    )
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
    return parser.parse_args(plain), overrides


def _add_sweep_flags(group) -> None:
    values = 'key=a,b or "(key,key)=(a,b),(c,d)"; several multiply; alone: the sweep of the config'
    group.add_argument("--sweep", action="append", nargs="?", const="", help=values)
    group.add_argument("--sweep_index", type=int, help="train this cell alone, from 0")
    group.add_argument("--sweep_workers", type=int, default=1, help="cells at a time")
    group.add_argument("--sweep_submit", choices=("slurm", "local"), help="a job a cell: submitit")
    group.add_argument("--sweep_submit_options", default="", help="timeout_min=60,gpus_per_node=1")
    ends = "take the end of standard input for SIGTERM"
    group.add_argument("--end_with_input", action="store_true", help=ends)


def _run(flags: argparse.Namespace, overrides: list[str]) -> int:
    from ddm_jax import config as config_
    from ddm_jax.sections import complete

    if flags.end_with_input:
        from ddm_jax.sweep_run import end_with_input

        end_with_input()
    if flags.sweep:
        return _sweep(flags, overrides)
    if flags.sweep_index is not None or flags.sweep_submit:
        raise UserError("--sweep_index and --sweep_submit need --sweep")
    if flags.mode != "train" and flags.workdir:
        workdir, config = Path(flags.workdir), None
    elif flags.config:
        config = config_.override(complete(config_.load(flags.config)), overrides)
        workdir = Path(flags.workdir or Path("runs") / _name(flags.config))
    else:
        raise UserError("give --config, for example --config configs/quickstart.py")

    _join(flags)
    if flags.mode != "train":
        return _use(flags.mode, workdir, overrides, flags.dry_run)
    return _train(config, workdir, flags.dry_run)


def _sweep(flags: argparse.Namespace, overrides: list[str]) -> int:
    from ddm_jax import sweep, sweep_run

    if flags.mode != "train" or not flags.config:
        raise UserError("--sweep trains; give --config and leave --mode out")
    workdir = Path(flags.workdir or Path("runs") / f"{_name(flags.config)}_sweep")
    cells = sweep.plan(flags.config, flags.sweep, overrides, workdir)
    if flags.sweep_index is not None:
        cell = sweep.pick(cells, flags.sweep_index)
        if cell.finished and not flags.dry_run:
            print(f"{cell.workdir} is finished")
            return 0
        _join(flags)
        with nullcontext() if flags.dry_run else sweep.recorded(cell):
            return _train(cell.config, cell.workdir, flags.dry_run)
    if flags.coordinator or (flags.distributed and not flags.sweep_submit):
        raise UserError("several hosts train one cell at a time; add --sweep_index")
    command = [sys.executable, str(Path(__file__).resolve()), "--config", flags.config]
    if flags.dry_run:
        sweep.describe(cells)
        return 0
    if flags.sweep_submit:
        swept = [part for text in flags.sweep for part in ("--sweep", text) if part]
        command += [*swept, "--workdir", str(workdir), *overrides]
        command += ["--distributed"] * flags.distributed
        options = flags.sweep_submit_options
        return sweep_run.submit(cells, workdir, flags.sweep_submit, options, command)
    return sweep_run.run(cells, workdir, flags.sweep_workers, command)


def _join(flags: argparse.Namespace) -> None:
    from ddm_jax.training import parallel

    parallel.join_hosts(flags.distributed, flags.coordinator, flags.processes, flags.process)


def _name(path: str) -> str:
    """`cifar_cosine` for configs/cifar_cosine.py and for runs/cifar_cosine/config.json."""
    name, _, argument = path.partition(":")
    file = Path(name)
    stem = file.resolve().parent.name if file.name == "config.json" else file.stem
    return f"{stem}_{argument}" if argument else stem


def _train(config, workdir: Path, dry_run: bool) -> int:
    from ddm_jax import workdir as workdir_
    from ddm_jax.data import sources
    from ddm_jax.recipe import assemble
    from ddm_jax.sections import data_options
    from ddm_jax.train import train
    from ddm_jax.training import parallel

    layout = parallel.layout()
    first = layout.process == 0

    def report(line: str) -> None:
        if first:
            print(line, flush=True)

    workdir_.check_same(config, workdir)
    data = sources.load(data_options(config), report)
    workdir_.check_same_data(data.spec, workdir)
    recipe = assemble(config, data.spec)
    _warn(recipe, first)
    layout.split_batch(recipe.train.batch, recipe.train.accumulate)
    if dry_run:
        _describe(config, recipe, layout, workdir)
        return 0
    with workdir_.locked(workdir) if first else nullcontext():
        if first:
            workdir_.record(config, data, workdir)
        if data.problems:
            report(f"left out {len(data.problems)} files, see {workdir / 'data_report.json'}")
        return train(recipe, data, workdir, layout)


def _use(mode: str, workdir: Path, overrides: list[str], dry_run: bool) -> int:
    """Sample from, evaluate or edit with a trained run, under its own config."""
    from ddm_jax import config as config_
    from ddm_jax import workdir as workdir_
    from ddm_jax.edit import edit
    from ddm_jax.evaluate import evaluate
    from ddm_jax.sample import sample
    from ddm_jax.training import parallel

    recipe = workdir_.saved_recipe(workdir, overrides)
    layout = parallel.layout()
    _warn(recipe, layout.process == 0)
    if dry_run:
        config = config_.override(workdir_.saved_config(workdir), overrides)
        _describe(config, recipe, layout, workdir)
    elif layout.process == 0:
        {"sample": sample, "evaluate": evaluate, "edit": edit}[mode](recipe, workdir, layout)
    return 0


def _warn(recipe, first: bool) -> None:
    for line in recipe.warnings if first else ():
        print(f"warning: {line}", file=sys.stderr, flush=True)


def _describe(config, recipe, layout, workdir: Path) -> None:
    from ddm_jax import config as config_

    chosen = config_.used(config)
    for key, value in config_.leaves(config):
        print(f"{'  ' if key in chosen else '# '}--config.{key}={value!r}")
    shape = "x".join(map(str, recipe.spec.shape))
    per_device = layout.split_batch(recipe.train.batch, recipe.train.accumulate)
    print(f"parameters: {recipe.parameter_count():,}")
    extra = ", captions" if recipe.spec.captioned else ""
    print(
        f"data: {recipe.spec.name}, {recipe.spec.count:,} images {shape}, "
        f"{len(recipe.spec.classes)} classes{extra}"
    )
    print(f"devices: {layout.describe()}, {per_device} images a device and step part")
    print(f"workdir: {workdir}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
