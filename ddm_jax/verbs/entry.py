"""From settings and folders to the verbs: what all of them do before they begin."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from ml_collections import ConfigDict

from ddm_jax import runs
from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import leaves, override, used
from ddm_jax.config.tables import data_options
from ddm_jax.data import sources
from ddm_jax.recipe import Recipe
from ddm_jax.training import parallel
from ddm_jax.training.parallel import Layout
from ddm_jax.verbs.editing import edit
from ddm_jax.verbs.evaluating import evaluate
from ddm_jax.verbs.sampling import sample
from ddm_jax.verbs.training import train

USES = {"sample": sample, "evaluate": evaluate, "edit": edit}


def train_config(config: ConfigDict, workdir: Path, dry_run: bool) -> int:
    """Train a config in a folder, or go on there; the exit code."""
    layout = parallel.layout()
    first = layout.process == 0

    def report(line: str) -> None:
        if first:
            print(line, flush=True)

    runs.check_same(config, workdir)
    data = sources.load(data_options(config), report)
    runs.check_same_data(data.spec, workdir)
    recipe = assemble(config, data.spec)
    warn(recipe, first)
    layout.split_batch(recipe.train.batch, recipe.train.accumulate)
    if dry_run:
        describe(config, recipe, layout, workdir)
        return 0
    with runs.locked(workdir) if first else nullcontext():
        if first:
            runs.record(config, data, workdir)
        if data.problems:
            report(f"left out {len(data.problems)} files, see {workdir / 'data_report.json'}")
        return train(recipe, data, workdir, layout)


def use_run(verb: str, workdir: Path, overrides: Sequence[str], dry_run: bool) -> int:
    """Sample from, evaluate or edit with a trained run, under its own config; the exit code."""
    recipe = runs.saved_recipe(workdir, overrides)
    layout = parallel.layout()
    warn(recipe, layout.process == 0)
    if dry_run:
        config = override(runs.saved_config(workdir), overrides)
        describe(config, recipe, layout, workdir)
    elif layout.process == 0:
        USES[verb](recipe, workdir, layout)
    return 0


def warn(recipe: Recipe, first: bool) -> None:
    """Print what is dangerous about a recipe, on stderr of the first process."""
    for line in recipe.warnings if first else ():
        print(f"warning: {line}", file=sys.stderr, flush=True)


def describe(config: ConfigDict, recipe: Recipe, layout: Layout, workdir: Path) -> None:
    """Print every setting (`#` for rows not chosen), the parameters, the data and the devices."""
    chosen = used(config)
    for key, value in leaves(config):
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
