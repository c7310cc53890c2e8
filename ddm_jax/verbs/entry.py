"""From settings and folders to the verbs: what all of them do before they begin."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import jax
from ml_collections import ConfigDict

from ddm_jax import borrowing, runs
from ddm_jax.config.assemble import loans
from ddm_jax.config.load import leaves, used
from ddm_jax.config.setup import Setup
from ddm_jax.config.tables import check_alone, data_options
from ddm_jax.data import sources
from ddm_jax.data.cache import cache_folder
from ddm_jax.errors import UserError
from ddm_jax.evaluation.sets import SET_METRICS
from ddm_jax.lock import locked
from ddm_jax.tasks.base import completed
from ddm_jax.training.layout import Layout, all_devices
from ddm_jax.training.pods import pod_of
from ddm_jax.training.processes import together
from ddm_jax.verbs.editing import edit
from ddm_jax.verbs.encoding import encode_pairs
from ddm_jax.verbs.evaluating import evaluate, report
from ddm_jax.verbs.examining import examine
from ddm_jax.verbs.latents import encode_latents, stored
from ddm_jax.verbs.opened import Loaded, Opened, load, open_run
from ddm_jax.verbs.planning import plan
from ddm_jax.verbs.previews import PREVIEWS, Preview
from ddm_jax.verbs.sampling import sample
from ddm_jax.verbs.training import train
from ddm_jax.verbs.watching import Watch

# What can be done with a trained run, by its task; what gives no exit code ends with 0.
USES: dict[str, dict[str, Callable[[Opened, Layout], int | None]]] = {
    "diffusion": {
        "sample": sample,
        "evaluate": evaluate,
        "edit": edit,
        "encode": encode_pairs,
        "doctor": examine,
    },
    "classifier": {"evaluate": evaluate},
    "autoencoder": {"evaluate": evaluate, "encode": encode_latents},
}


def train_config(
    config: ConfigDict, workdir: Path, dry_run: bool, *, profile: int = 0, pod: str = ""
) -> int:
    """Train a config in a folder, or go on there; the exit code.

    profile: steps that are traced. pod: the name of the TPUs that a dry run is about.
    """
    if pod and not dry_run:
        raise UserError(f"--pod={pod} is compiled for, and not trained on; add --dry_run")
    slice_of_pod = pod_of(pod) if pod else None
    layout = slice_of_pod.layout if slice_of_pod else all_devices()
    with ExitStack() as stack:
        with together(layout):
            check_alone(config)
            runs.check_same(config, workdir)
            data = sources.load(data_options(config), layout.say)
            runs.check_same_data(data.spec, workdir)
            data = borrowing.taught(config, data, workdir)
            platform = layout.devices[0].platform
            setup, lent = borrowing.assembled(
                config, data.spec, workdir, training=True, platform=platform
            )
            setup.spread(layout).split_batch(*setup.train.split)
            start = borrowing.first_weights(setup.init.run, workdir)
            if layout.first and not dry_run:
                stack.enter_context(locked(workdir))
        if setup.train.evaluate_every and "evaluate" not in USES.get(setup.name, {}):
            raise UserError(
                f"runs of task {setup.name!r} cannot be measured; take train.evaluate_every=0"
            )
        warn(setup, layout)
        if dry_run:
            describe(config, setup, layout, workdir)
            if slice_of_pod:
                plan(setup, data, slice_of_pod, lent)
            return 0
        _, weights, origins = load({**lent, **({"init": start} if start else {})}, layout)
        watch = None
        if setup.train.evaluate_every:
            run = runs.Run(workdir, None, config, data.spec)
            watch = Watch(Opened(run, setup, lent), Loaded(0, weights, origins), layout)
        with together(layout):
            if layout.first:
                borrowing.keep_borrowed(config, origins, workdir)
                borrowing.check_latents(data.spec, origins, workdir)
                runs.record(config, data, workdir)
        if data.problems:
            layout.say(f"left out {len(data.problems)} files, see {workdir / 'data_report.json'}")
        data = completed(setup.task, data)
        draws = PREVIEWS.get(setup.name, Preview)
        preview = draws(setup, data, workdir, layout, weights.borrowed, origins)
        setup, data = stored(setup, data, weights.borrowed, layout)
        with together(layout):
            frozen = setup.task.frozen(cache_folder(setup.data.cache), layout.say)
        more = {"borrowed": {**weights.borrowed, **frozen}, "watch": watch, "profile": profile}
        return train(setup, data, workdir, layout, preview=preview, **more)


def use_run(verb: str, workdir: Path, overrides: Sequence[str], dry_run: bool) -> int:
    """Use a trained run, under its own config, as `verb` says; the exit code."""
    layout = all_devices()
    with together(layout):
        opened = open_run(workdir, overrides)
        setup = opened.setup
        uses = USES.get(setup.name, {})
        if verb not in uses:
            others = f"be used with --mode {', '.join(uses)}" if uses else "only be trained"
            raise UserError(
                f"{workdir} is a run of task {setup.name!r}, which --mode {verb} is not for; it "
                f"can {others}"
            )
    warn(setup, layout)
    if dry_run:
        describe(opened.run.config, setup, layout, workdir)
        return 0
    return uses[verb](opened, layout) or 0


def measure_samples(config: ConfigDict, workdir: Path, dry_run: bool) -> int:
    """Measure the samples of `evaluate.source` against the data of a config, which needs no trained
    weights; the exit code.
    """
    layout = all_devices()
    with together(layout):
        check_alone(config)
        if not used(config).get("evaluate.source"):
            raise UserError(
                f"no run in {workdir}; train first, or name samples of others by "
                "--config.evaluate.source=<a folder of images or an .npz>"
            )
        data = sources.load(data_options(config), layout.say)
        data = borrowing.taught(config, data, workdir)
        setup, lent = borrowing.assembled(config, data.spec, workdir, training=False)
        of_runs = [name for name in setup.task.evaluate.metrics if name not in SET_METRICS]
        if of_runs:
            raise UserError(
                f"evaluate.metrics={','.join(of_runs)} measures a trained run, and there is none "
                f"in {workdir}; of samples take {', '.join(SET_METRICS)}"
            )
    warn(setup, layout)
    if dry_run:
        describe(config, setup, layout, workdir)
        return 0
    run = runs.Run(workdir, None, config, data.spec)
    report(Opened(run, setup, lent), load(lent, layout), layout)
    return 0


def warn(setup: Setup, layout: Layout) -> None:
    """Print what is dangerous about a setup, on stderr of the first process."""
    for line in setup.warnings if layout.first else ():
        print(f"warning: {line}", file=sys.stderr, flush=True)


def describe(config: ConfigDict, setup: Setup, layout: Layout, workdir: Path) -> None:
    """Print every setting (`#` for rows not chosen), the parameters, the data and the devices."""
    chosen, layout = used(config), setup.spread(layout)
    for key, value in leaves(config):
        print(f"{'  ' if key in chosen else '# '}--config.{key}={value!r}")
    shape = "x".join(map(str, setup.spec.shape))
    per_device = layout.split_batch(*setup.train.split)
    print(f"parameters: {setup.parameter_count():,}")
    extra = ", captions" if setup.spec.captioned else ""
    if setup.spec.picture:
        extra += f", pictures {'x'.join(map(str, setup.spec.picture))}"
    if setup.spec.embedding:
        extra += f", vectors of {setup.spec.embedding:,} numbers"
    print(
        f"data: {setup.spec.name}, {setup.spec.count:,} images {shape}, "
        f"{len(setup.spec.classes)} classes{extra}"
    )
    print(f"devices: {layout.describe()}, {per_device} images a device and step part")
    kept = layout.kept(jax.eval_shape(setup.init_state))
    print(f"state: {kept / 2**20:,.1f} MiB on each device")
    for role, name in loans(config).items():
        print(f"borrows: {name} as its {role}")
    print(f"workdir: {workdir}")
