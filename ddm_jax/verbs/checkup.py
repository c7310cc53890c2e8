"""What is measured of a trained run to tell whether it is healthy."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.data import sources
from ddm_jax.data.dataset import Dataset, check_same_data
from ddm_jax.diffusion.analytic import affine_error
from ddm_jax.diffusion.arrays import fold_in
from ddm_jax.diffusion.guidance import NoGuidance
from ddm_jax.diffusion.process import marginal_scale
from ddm_jax.errors import RunError
from ddm_jax.evaluation import levels
from ddm_jax.evaluation.health import (
    Checkup,
    Curve,
    Log,
    Moved,
    Start,
    Told,
    Values,
    means,
    values,
)
from ddm_jax.tasks.base import Weights, completed
from ddm_jax.tasks.diffusion import Diffusion
from ddm_jax.tasks.generator import Asked
from ddm_jax.training import logs
from ddm_jax.training.layout import Layout, alone
from ddm_jax.training.processes import broadcast, together
from ddm_jax.verbs.opened import Opened
from ddm_jax.verbs.sampling import in_batches, make_draw

MOST_EXAMPLES = 20_000  # whose moments are taken,
MOST_VALUES = 2**26  # and as many as hold so many values
MOST_STARTS = 2**16  # values of noise that sampling starts from


def checkup(
    opened: Opened, layout: Layout, *, step: int, weights: Weights, reference: Curve | None
) -> Checkup:
    """All that is known of a run at `step`; every process measures, and has all of it."""
    setup, own = opened.setup, alone(layout)
    task: Diffusion = setup.task
    options, model = task.doctor, task.model
    with together(layout):
        data = sources.load(setup.data, layout.say)
        check_same_data(data.spec, setup.spec)
        like = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), opened.run.shapes())
        last = replace(opened.run, step=step).saved(raw=True).params if layout.first else like
    data = completed(task, data)
    fresh = jax.jit(setup.init_params)()
    raw = weights._replace(params=own.replicate(broadcast(layout, last)))
    first = weights._replace(params=own.replicate(fresh))
    order = np.random.default_rng(options.seed).permutation(data.spec.count)
    index, other = order[: options.examples], np.roll(order, 1)[: options.examples]
    times, schedule = levels.training_times(task, weights, options.levels), model.trained
    errors = make_errors(task, layout, data, times)
    x, returned = encoded(task, weights, data, order)
    between, full = levels.variances(x)
    of_raw, told = errors(raw, index, index), None
    if model.condition.parts:
        told = Told(means(errors(raw, index, other) - of_raw), classes_apart(x, data, order))
    data_values, samples = drawn(task, layout, weights, data, index=index[: options.samples])
    return Checkup(
        step,
        setup.train.steps,
        times,
        np.asarray(schedule(weights.params).logsnr(jnp.asarray(times))),
        averaged=means(errors(weights, index, index)),
        raw=means(of_raw),
        first=errors(first, index, index).mean(0),
        gaussian=np.asarray(affine_error(schedule(weights.params), between, times)),
        full=full,
        x=values(x),
        limits=jax.tree.map(np.asarray, task.codec.limits()),
        levels=task.spec.levels,
        returned=returned,
        moved=Moved(away(raw.params, fresh), away(weights.params, fresh)),
        log=log_of(opened.folder, step),
        lr=setup.optim.lr,
        clip=setup.optim.clip,
        start=start(task, weights),
        told=told,
        data=data_values,
        samples=samples,
        reference=reference,
    )


def make_errors(
    task: Diffusion, layout: Layout, data: Dataset, times: np.ndarray
) -> Callable[[Weights, np.ndarray, np.ndarray], np.ndarray]:
    """errors(weights, index, other) -> the error of x_0 (n, L) of examples `index` (n,), told the
    condition of examples `other` (n,).

    The noise of an example is a function of doctor.seed and of the example. One compiled program.
    """
    own, options, condition = alone(layout), task.doctor, task.model.condition

    def measure(
        weights: Weights,
        columns: Mapping[str, Array],
        others: Mapping[str, Array],
        index: Array,
    ) -> Array:
        keys = fold_in(jax.random.key(options.seed), index)
        x0, raw = task.codec.encode(columns["x"], weights.borrowed), condition.raw(others)
        return levels.errors(task, weights, x0, raw, times=times, keys=keys)

    program = own.compile(measure, (False, True, True, True), stacked=True)

    def errors(weights: Weights, index: np.ndarray, other: np.ndarray) -> np.ndarray:
        def call(part: np.ndarray) -> np.ndarray:
            a, b = index[part], other[part]
            batch = own.shard((data.numbers(a), data.numbers(b), a.astype(np.int32)))
            return own.gather(program(weights, *batch))

        places = np.arange(len(index))
        return in_batches(layout, call, places, options.batch, say=layout.say, done="measured")

    return errors


def encoded(
    task: Diffusion, weights: Weights, data: Dataset, order: np.ndarray
) -> tuple[np.ndarray, float]:
    """(x of the first examples of an order (n, ...), how far they come back from it).

    Back: the root of the mean square of decoded less shown values, as a share of their range.
    """
    size = int(np.prod(task.codec.shape))
    some = order[: max(2, min(MOST_EXAMPLES, MOST_VALUES // size))]
    width = task.spec.shown[1] - task.spec.shown[0]
    found, squares = [], []
    for start in range(0, len(some), 1024):
        kept = data.numbers(np.sort(some[start : start + 1024]))["x"]
        x = task.codec.encode(kept, weights.borrowed)
        back = np.asarray(task.codec.decode(x, weights.borrowed)) - task.spec.show(kept)
        found.append(np.asarray(x, np.float32))
        squares.append(np.mean((back / width) ** 2, axis=tuple(range(1, back.ndim))))
    return np.concatenate(found), float(np.sqrt(np.concatenate(squares).mean()))


def classes_apart(x: np.ndarray, data: Dataset, order: np.ndarray) -> tuple[float, float] | None:
    """`levels.told_apart` of encoded examples, None where the data have no classes."""
    if "label" not in data.columns:
        return None
    blocks = np.split(order[: len(x)], range(1024, len(x), 1024))
    return levels.told_apart(x, data.columns["label"][np.concatenate([np.sort(b) for b in blocks])])


def drawn(
    task: Diffusion, layout: Layout, weights: Weights, data: Dataset, *, index: np.ndarray
) -> tuple[Values | None, Values | None]:
    """Values of examples `index` (n,), and of samples under their conditions; None for none, of the
    samples also where some are not finite.

    Without guidance, which draws other samples on purpose; otherwise as the settings say.
    """
    if not len(index):
        return None, None
    options = replace(task.generator.options, batch=task.doctor.batch)
    generator = replace(task.generator, guidance=NoGuidance(), options=options)
    columns = data.numbers(index)
    told = Asked(task.model.condition.raw(columns), jnp.zeros(len(index), jnp.int32))
    shown = values(np.asarray(task.spec.show(columns["x"])))
    try:
        images = make_draw(generator, layout, told)(weights, len(index), layout.say)
    except RunError:
        return shown, None
    return shown, values(images)


def start(task: Diffusion, weights: Weights) -> Start:
    """How sampling begins, beside what training knows of these times."""
    times = jnp.asarray(task.generator.times(weights))
    trained = task.model.trained(weights.params).logsnr(times)
    schedule = task.generator.schedule(weights)
    apart = float(abs(trained - schedule.logsnr(times)).max())
    size = int(np.prod(task.codec.shape))
    x = task.generator.start(weights, jnp.arange(max(2, MOST_STARTS // size)))
    noise = float(x.std() / marginal_scale(schedule, times[0]))
    return Start(float(times[0]), float(jnp.exp(trained[0])), apart, noise)


def away(params: Any, first: Any) -> float:
    """|params - first| / |first| over all arrays of a tree."""

    def square(tree: Any) -> float:
        return sum(float((np.asarray(a, np.float64) ** 2).sum()) for a in jax.tree.leaves(tree))

    apart = jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), params, first)
    return float(np.sqrt(square(apart) / max(square(first), 1e-30)))


def log_of(folder: Path, step: int) -> Log:
    """What training wrote up to `step`."""
    rows = [row for row in logs.metrics(folder) if row["step"] <= step]
    return Log(*(np.array([row[name] for row in rows], float) for name in Log._fields))
