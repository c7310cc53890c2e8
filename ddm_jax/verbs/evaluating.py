"""Measure a trained run: the metrics of its task, in numbers that say what they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from ddm_jax import files
from ddm_jax.config.setup import Setup
from ddm_jax.data import sources
from ddm_jax.data.dataset import Dataset, NoSplit, check_same_data
from ddm_jax.diffusion.arrays import fold_in
from ddm_jax.errors import RunError, UserError
from ddm_jax.evaluation import METRICS
from ddm_jax.evaluation.protocol import code
from ddm_jax.tasks.base import Weights, completed
from ddm_jax.training.layout import Layout, alone
from ddm_jax.training.processes import together
from ddm_jax.verbs.comparing import Found, Result, append, make_compare
from ddm_jax.verbs.names import digest
from ddm_jax.verbs.opened import Loaded, Opened
from ddm_jax.verbs.sampling import in_batches

Say = Callable[[str], None]
Measured = dict[str, dict[str, np.ndarray]]  # per metric, its rows


def make_measure(setup: Setup, layout: Layout, metrics: Sequence[str]) -> Callable[..., Measured]:
    """measure(weights, data, index, say) -> for each metric its rows, one an index.

    A row is a function of (weights, evaluate.seed, example) alone. One compiled program a metric
    serves every batch, the last one filled up and cut. All processes must measure, and have all
    rows.
    """
    task, own = setup.task, alone(layout)
    options = task.evaluate

    def program(name: str) -> Callable[..., Mapping[str, Array]]:
        def measure(
            weights: Weights, columns: Mapping[str, Array], index: Array
        ) -> Mapping[str, Array]:
            keys = fold_in(jax.random.key(options.seed), index)
            return METRICS[name].measure(task, weights, columns, keys)

        return own.compile(measure, (False, True, True), stacked=True)

    programs = {name: program(name) for name in metrics}

    def measure(weights: Weights, data: Dataset, index: np.ndarray, say: Say) -> Measured:
        def call(part: np.ndarray) -> Measured:
            batch = own.shard((data.numbers(part), part.astype(np.int32)))
            return {n: own.gather(program(weights, *batch)) for n, program in programs.items()}

        return in_batches(layout, call, index, options.batch, say=say, done="evaluated")

    return measure


def examples(setup: Setup, report: Say) -> tuple[Dataset, str, bool]:
    """(data, their split, whether they were held out): what `evaluate.split` says, or the best.

    Only TFDS sets have splits; of those that have no test split, and of all other data, these are
    the examples that were trained on.
    """
    data, wanted = setup.data, setup.task.evaluate.split
    splits = data.name.startswith("tfds:")
    if wanted and not splits:
        raise UserError(f"{data.name} has no splits; leave evaluate.split empty")
    if splits and not wanted:
        try:
            return sources.load(replace(data, split="test"), report), "test", data.split != "test"
        except NoSplit:
            pass
    split = wanted or data.split
    return sources.load(replace(data, split=split), report), split, split != data.split


def settings(setup: Setup, split: str, metrics: Sequence[str]) -> dict[str, Any]:
    """What shapes the numbers of `metrics` beside the weights and the data."""
    options = setup.task.evaluate
    found = {k: v for n in metrics for k, v in of_metric(setup, n).items()}
    shared = {"count": options.count, "seed": options.seed, "weights": options.weights}
    return {**shared, "metrics": list(metrics), **found, "split": split}


def of_metric(setup: Setup, name: str) -> dict[str, Any]:
    """What shapes the numbers of one metric."""
    return METRICS[name].settings(setup.task)


def evaluate(opened: Opened, layout: Layout) -> None:
    """Print the metrics of `evaluate.metrics` and write them below `evaluation/`.

    Each number is a line of `results.jsonl`, with its protocol. Those that measure examples one by
    one are written as `step_<step>_<split>_seed_<seed>_<digest>.json` too.
    """
    check(opened)
    report(opened, opened.load(layout, raw=opened.setup.task.evaluate.weights == "raw"), layout)


def report(opened: Opened, loaded: Loaded, layout: Layout) -> None:
    """Take the metrics of `evaluate.metrics` for weights of a run, print and record them."""
    found = make_evaluation(opened, loaded, layout)(loaded)
    if layout.first:
        for _, lines in found:
            print("\n".join(lines))
        print(f"wrote {record(opened, found)}")


def make_evaluation(opened: Opened, loaded: Loaded, layout: Layout) -> Callable[[Loaded], Found]:
    """evaluation(loaded) -> the metrics of `evaluate.metrics` for weights of a run, in that order.

    Empty but on the first process. loaded: whose borrowed weights all that are measured have. What
    measures is compiled once.
    """
    metrics = opened.setup.task.evaluate.metrics
    single = [name for name in metrics if name in METRICS]
    of_sets = [name for name in metrics if name not in METRICS]
    measures = [make_measure_examples(opened, layout, single)] if single else []
    measures += [make_compare(opened, loaded, layout, of_sets)] if of_sets else []

    def evaluation(loaded: Loaded) -> Found:
        found = [row for measure in measures for row in measure(loaded)]
        return sorted(found, key=lambda row: metrics.index(row[0].metric))

    return evaluation


def record(opened: Opened, found: Found) -> Path:
    """Add numbers to the run's `evaluation/results.jsonl`, which it gives."""
    path = opened.folder / "evaluation" / "results.jsonl"
    append(path, [result for result, _ in found])
    return path


def check(opened: Opened) -> None:
    """Raises UserError where examples of the run cannot be measured so."""
    for name in (name for name in opened.setup.task.evaluate.metrics if name in METRICS):
        try:
            METRICS[name].check(opened.setup.task)
        except ValueError as error:
            raise UserError(f"evaluate.metrics={name}: {error}") from error


def make_measure_examples(
    opened: Opened, layout: Layout, metrics: Sequence[str]
) -> Callable[[Loaded], Found]:
    """measured(loaded) -> the rows `metrics` of METRICS for weights of a run.

    Empty but on the first process, which writes them example by example too.
    """
    setup = opened.setup
    task, options = setup.task, setup.task.evaluate
    with together(layout):
        data, split, held_out = examples(setup, layout.say)
        if not held_out:
            check_same_data(data.spec, setup.spec)
        elif data.spec.shape != setup.spec.shape or data.spec.classes != setup.spec.classes:
            raise UserError(f"the data are no longer those of {opened.folder}: see data.json there")
    order = np.random.default_rng(options.seed).permutation(data.spec.count)
    index = np.sort(order[: options.count or data.spec.count])
    seen = "held out" if held_out else "TRAINED ON"
    data = completed(task, data)
    measure = make_measure(setup, layout, metrics)

    def measured(loaded: Loaded) -> Found:
        layout.say(
            f"evaluating {len(index):,} examples of {data.spec.name}, split {split!r} ({seen}), at "
            f"step {loaded.step:,} on {layout.describe()}"
        )
        rows_of = measure(loaded.weights, data, index, layout.say)
        bad = [
            f"{row} of {name}"
            for name, rows in rows_of.items()
            for row, values in rows.items()
            if not np.isfinite(values).all()
        ]
        if bad:
            raise RunError(f"{', '.join(bad)} is not finite for some example; nothing is written")
        about = {"name": data.spec.name, "split": split, "held_out": held_out}
        with together(layout):
            return written(opened, loaded, rows_of, index, about=about) if layout.first else []

    return measured


def written(
    opened: Opened,
    loaded: Loaded,
    measured: Measured,
    index: np.ndarray,
    *,
    about: Mapping[str, Any],
) -> Found:
    """Write rows of examples `index` of the data that `about` names, and sum them up."""
    setup, step = opened.setup, loaded.step
    task, options = setup.task, setup.task.evaluate
    summaries = {name: METRICS[name].summary(task, rows) for name, rows in measured.items()}
    result = {
        "step": step,
        "data": about,
        "examples": len(index),
        "settings": settings(setup, about["split"], list(measured)),
        **summaries,
        "per_example": {
            "index": index.tolist(),
            **{
                name: rows[METRICS[name].of_example].tolist()
                for name, rows in measured.items()
                if METRICS[name].of_example
            },
        },
    }
    stem = f"step_{step}_{about['split']}_seed_{options.seed}_{digest(result['settings'])}"
    path = opened.folder / "evaluation" / f"{stem}.json"
    files.write_json(path, result)
    print(f"wrote {path}", flush=True)
    found = []
    for name, summary in summaries.items():
        metric, how = METRICS[name], of_metric(setup, name)
        protocol = {
            "step": step,
            "count": len(index),
            "reference": about,
            "weights": {"kind": options.weights, **loaded.origins[""]},
            "metric": {"name": name, **how},
            "seed": options.seed,
            "code": code(),
        }
        numbers = {k: v for k, v in summary.items() if isinstance(v, float)}
        row = Result(name, *metric.headline(summary), numbers, None, protocol)
        found.append((row, metric.lines(summary, how)))
    return found
