"""From settings and folders to the verbs: what all of them do before they begin."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
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
    with ExitStack() as stack:
        with parallel.together(layout):
            runs.check_same(config, workdir)
            data = sources.load(data_options(config), layout.say)
            runs.check_same_data(data.spec, workdir)
            recipe = assemble(config, data.spec)
            layout.split_batch(recipe.train.batch, recipe.train.accumulate)
            if layout.first and not dry_run:
                stack.enter_context(runs.locked(workdir))
                runs.record(config, data, workdir)
        warn(recipe, layout)
        if dry_run:
            describe(config, recipe, layout, workdir)
            return 0
        if data.problems:
            layout.say(f"left out {len(data.problems)} files, see {workdir / 'data_report.json'}")
        return train(recipe, data, workdir, layout)


def use_run(verb: str, workdir: Path, overrides: Sequence[str], dry_run: bool) -> int:
    """Sample from, evaluate or edit with a trained run, under its own config; the exit code."""
    layout = parallel.layout()
    with parallel.together(layout):
        recipe = runs.saved_recipe(workdir, overrides)
    warn(recipe, layout)
    if dry_run:
        config = override(runs.saved_config(workdir), overrides)
        describe(config, recipe, layout, workdir)
    else:
        USES[verb](recipe, workdir, layout)
    return 0


def warn(recipe: Recipe, layout: Layout) -> None:
    """Print what is dangerous about a recipe, on stderr of the first process."""
    for line in recipe.warnings if layout.first else ():
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
