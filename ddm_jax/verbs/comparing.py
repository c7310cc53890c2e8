"""Compare a set of samples with a set of data: features of both, and the metrics of sets.

Every process draws a share and sees a share; the first one compares and writes.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax import files
from ddm_jax.config.setup import Setup
from ddm_jax.data import sources
from ddm_jax.data.cache import cache_folder
from ddm_jax.data.dataset import Dataset, NoSplit
from ddm_jax.data.sample_files import read_samples
from ddm_jax.diffusion.conditions import Raw
from ddm_jax.errors import UserError
from ddm_jax.evaluation.protocol import BYTE_RULE, code, named
from ddm_jax.evaluation.sets import SET_METRICS
from ddm_jax.evaluation.sets.base import FeatureSet, Moments
from ddm_jax.evaluation.sets.frechet import frechet, of_moments, of_rows
from ddm_jax.figures.plots import to_uint8
from ddm_jax.tasks.base import completed
from ddm_jax.tasks.diffusion import Diffusion
from ddm_jax.tasks.generator import Asked
from ddm_jax.training.layout import Layout, alone, together
from ddm_jax.verbs import names
from ddm_jax.verbs.opened import Loaded, Opened
from ddm_jax.verbs.resumable import in_parts, part_size
from ddm_jax.verbs.sampling import Say, in_batches, make_draw

See = Callable[[np.ndarray], dict[str, np.ndarray]]  # values (n, ...) -> features, log_probs


class Eye(NamedTuple):
    """What sets are looked at with. about: the record of it. classes: what it tells."""

    see: See
    like: dict[str, jax.ShapeDtypeStruct]
    about: dict[str, Any]
    title: str
    classes: tuple[str, ...]


class Chosen(NamedTuple):
    """Examples of the data that are looked at. about: the record of which they are."""

    data: Dataset
    places: np.ndarray
    about: dict[str, Any]


class Result(NamedTuple):
    """A number with all that shaped it. floor: of data against the same reference."""

    metric: str
    name: str
    value: float
    numbers: Mapping[str, Any]
    floor: Mapping[str, Any] | None
    protocol: Mapping[str, Any]


def compare(
    opened: Opened, loaded: Loaded, layout: Layout, metrics: Sequence[str]
) -> list[tuple[Result, list[str]]]:
    """The rows `metrics` of SET_METRICS for a run, and the lines that say them.

    Empty but on the first process. Raises UserError for what cannot be compared.
    """
    task: Diffusion = opened.setup.task
    options, say = task.evaluate, layout.say
    with together(layout):
        eye = make_eye(opened, loaded, layout)
        check(task, eye, metrics)
        reference, other = chosen(opened.setup, say)
    drawn, values, asked = samples(opened, loaded, layout, reference)
    count = len(values)
    say(f"looking at {count:,} samples and {len(reference.places):,} examples by {eye.title}")
    folder = opened.folder / "evaluation" / f"features_{names.digest({**drawn, **eye.about})}"
    seen = look(layout, eye, folder, values, say)._replace(asked=asked_of(eye, asked))
    published = options.reference and moments_in(options.reference)
    real = None if published else look_at_data(layout, eye, reference, say)
    floor = look_at_data(layout, eye, other._replace(places=other.places[:count]), say)
    if not layout.first:
        return []
    about = {"data": task.spec.name, **reference.about, "examples": len(reference.places)}
    protocol = {
        "step": loaded.step,
        "count": count,
        "samples": drawn,
        "features": eye.about,
        "reference": {"file": digest_of_file(options.reference)} if published else about,
        "byte_rule": BYTE_RULE if task.spec.levels else "none",
        "resizer": "none",
        "seed": options.seed,
        "code": code(),
    }
    found = []
    for metric in metrics:
        row = SET_METRICS[metric]
        settings = {"name": metric, **dataclasses.asdict(row)}  # pyright: ignore
        try:
            if published:
                given = Moments.from_published(*published)
                numbers = frechet(of_rows(seen.features), of_moments(given))
                least = frechet(of_rows(floor.features), of_moments(given))
            else:
                numbers = row.compare(seen, real or seen, options.seed)
                least = row.compare(floor, real or seen, options.seed)
        except ValueError as error:
            raise UserError(f"evaluate.metrics={metric}: {error}") from error
        name, value = named(row.short, eye.title, count), next(iter(numbers.values()))
        beside = {"of": other.about, "count": len(floor.features), "numbers": least}
        record = {**protocol, "metric": settings}
        lines = row.lines(numbers)
        lines[0] = f"{name} {lines[0].removeprefix(row.short).strip()}"
        lines.append(f"  data against the same reference: {row.lines(least)[0]}")
        found.append((Result(metric, name, value, numbers, beside, record), lines))
    return found


def check(task: Diffusion, eye: Eye, metrics: Sequence[str]) -> None:
    """Raises UserError where the features cannot give what metrics need."""
    for name in metrics:
        if SET_METRICS[name].of_classes and not eye.classes:
            raise UserError(
                f"evaluate.metrics={name} needs features that tell classes; take "
                "features.name=classifier with --config.features.classifier.run=<run>"
            )
        if task.evaluate.reference and name != "frechet":
            raise UserError(
                f"evaluate.reference={task.evaluate.reference} holds moments, which frechet alone "
                f"compares with; leave evaluate.reference empty for {name}"
            )


def make_eye(opened: Opened, loaded: Loaded, layout: Layout) -> Eye:
    """The features of a run's config, ready to see; UserError where they cannot."""
    task: Diffusion = opened.setup.task
    row, own = task.features, alone(layout)
    about = names.chosen("features", row)
    try:
        row.check(task.spec)
    except ValueError as error:
        raise UserError(f"features.name={about['name']}: {error}") from error
    if row.asks and row.asks not in task.lent:
        raise UserError(
            f"features.name={about['name']} needs a run; give "
            f"--config.features.{about['name']}.run=<its folder>"
        )
    params, sha256 = row.load(cache_folder(opened.setup.data.cache), layout.say)
    if row.asks:
        params, sha256 = loaded.weights.borrowed[row.asks], loaded.origins.get(row.asks, {})
    params = own.replicate(params)

    def see(params: Any, x: Array) -> dict[str, Array]:
        found = row.see(params, x.astype("float32"), task.lent)._asdict()
        return {name: values for name, values in found.items() if values is not None}

    program = own.compile(see, (False, True), stacked=True)
    x = jax.ShapeDtypeStruct((1, *task.spec.shape), np.float32)
    shapes = jax.eval_shape(see, params, x)
    like = {k: jax.ShapeDtypeStruct(v.shape[1:], v.dtype) for k, v in shapes.items()}

    def all_of(values: np.ndarray) -> dict[str, np.ndarray]:
        def call(part: np.ndarray) -> dict[str, np.ndarray]:
            return own.gather(program(params, own.shard(np.asarray(values[part]))))

        index = np.arange(len(values))
        return in_batches(layout, call, index, task.evaluate.batch, layout.say, "looked at")

    about = {**about, "sha256": sha256}
    return Eye(all_of, like, about, row.title, row.classes(task.lent))


def look(layout: Layout, eye: Eye, folder: Path, values: np.ndarray, say: Say) -> FeatureSet:
    """What is seen of values (n, ...), kept in parts below `folder`."""

    def make(first: int, n: int) -> dict[str, np.ndarray]:
        return eye.see(values[first : first + n])

    how = {"size": part_size(64), "make": make, "say": say}
    found = in_parts(layout, folder, eye.like, len(values), **how)
    return FeatureSet(found["features"], found.get("log_probs"))


def look_at_data(layout: Layout, eye: Eye, chosen: Chosen, say: Say) -> FeatureSet:
    """What is seen of examples of the data, kept in the user's cache for other evaluations."""
    data = chosen.data
    key = {"features": eye.about, "data": list(data.spec.sha256), "code": code()}
    key["index"] = hashlib.sha256(chosen.places.astype(np.int64).tobytes()).hexdigest()
    folder = cache_folder() / "references" / names.digest(key)
    values = np.asarray(data.columns["x"][chosen.places])
    seen, label = look(layout, eye, folder, values, say), data.columns.get("label")
    if label is None or not data.spec.classes:
        return seen
    told = [data.spec.classes[k] for k in label[chosen.places]]
    return seen._replace(asked=asked_of(eye, told))


def asked_of(eye: Eye, told: Sequence[str] | None) -> np.ndarray | None:
    """The places of names among the classes that the features tell; None where one is not there."""
    if told is None or not set(told) <= set(eye.classes):
        return None
    return np.array([eye.classes.index(name) for name in told], np.int32)


def chosen(setup: Setup, say: Say) -> tuple[Chosen, Chosen]:
    """(the reference, other data that are held against it), both of `data` as the run has them.

    The other ones are of the test split where there is one, else what the reference leaves of its
    own split; where it leaves nothing, each is a half.
    """
    task, options = setup.task, setup.task.evaluate
    splits = setup.data.name.startswith("tfds:")
    split = options.reference_split if splits else setup.data.split
    data = completed(task, sources.load(dataclasses.replace(setup.data, split=split), say))
    if data.spec.shape != setup.spec.shape:
        raise UserError(f"{data.spec.name} holds other examples now than the run was trained on")
    order = np.random.default_rng(options.seed).permutation(data.spec.count)
    held, rest = order[: options.reference_count or len(order)], None
    if splits and split != "test":
        try:
            other = sources.load(dataclasses.replace(setup.data, split="test"), say)
            mixed = np.random.default_rng(options.seed).permutation(other.spec.count)
            rest = Chosen(other, mixed, {"split": "test"})
        except NoSplit:
            pass
    if rest is None:
        if len(held) == len(order):
            held = order[: (len(order) + 1) // 2]
        if len(order) - len(held) < 2:
            raise UserError(f"{data.spec.name} has {len(order)} examples, too few for two sets")
        rest = Chosen(data, order[len(held) :], {"split": split, "not": "the reference's"})
    return Chosen(data, np.sort(held), {"split": split, "seed": options.seed}), rest


def samples(
    opened: Opened, loaded: Loaded, layout: Layout, reference: Chosen
) -> tuple[dict[str, Any], np.ndarray, list[str] | None]:
    """(what shaped them, values as the data store them (n, ...), the class each was asked to be).

    Those of `evaluate.source`, or drawn from the run and kept below its folder in parts.
    """
    task: Diffusion = opened.setup.task
    options, generator, spec = task.evaluate, task.generator, task.spec
    if options.source:
        values = read_samples(options.source, spec)
        sha256 = hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()
        return {"source": Path(options.source).name, "sha256": sha256}, values, None
    told, raw = conditions(task, reference)
    count = options.samples
    settings = {
        "weights": {"kind": options.weights, **loaded.origins.get("", {})},
        "network_calls": evaluations(task),
        "conditions": options.conditions,
        **names.drawing(generator, loaded.origins),
    }
    if raw is not None:
        settings["told"] = names.digest_of_arrays(raw)
    drawn = {**settings, "code": code()}
    if generator.needs_request and raw is None:
        raise UserError("this run draws from pictures; leave evaluate.conditions=data")
    folder = opened.folder / "evaluation" / f"samples_{names.digest(drawn)}"
    draw = make_draw(generator, layout, raw)

    def make(first: int, n: int) -> dict[str, np.ndarray]:
        images = draw(loaded.weights, n, layout.say, first)
        layout.say(f"drew {first + n:,} of {count:,}")
        return {"x": to_uint8(images) if spec.levels else images}

    kind = np.dtype(np.uint8 if spec.levels else np.float32)
    like = {"x": jax.ShapeDtypeStruct(spec.shape, kind)}
    how = {"size": part_size(generator.options.batch), "make": make, "say": layout.say}
    found = in_parts(layout, folder, like, count, **how)["x"]
    values = found if spec.levels else found.astype(np.float32)
    return settings, values, told


def conditions(task: Diffusion, reference: Chosen) -> tuple[list[str] | None, Asked | None]:
    """(the class that each sample is asked to be, what the generator is told), None for what the
    run asks for itself.

    With `evaluate.conditions=data` sample k is told what example k of the reference, in an order of
    the seed, is told.
    """
    options, generator = task.evaluate, task.generator
    if options.conditions == "asked" or not generator.model.condition.parts:
        return generator.names(np.arange(options.samples)), None
    data = reference.data
    order = np.random.default_rng([options.seed, 1]).permutation(reference.places)
    rows = data.rows(np.resize(order, options.samples))
    label = np.zeros(options.samples, np.int32)
    told = [data.spec.classes[k] for k in rows["label"]] if data.spec.classes else None
    if generator.judged:
        if told is None or not set(told) <= set(generator.judged):
            raise UserError(
                "a classifier leads this run to classes, which the data do not have; take "
                "evaluate.conditions=asked"
            )
        label = np.array([generator.judged.index(name) for name in told], np.int32)
    raw: Raw = generator.model.condition.raw(rows)
    return told, Asked(raw, jnp.asarray(label))


def evaluations(task: Diffusion) -> int | None:
    """How often a sample calls the network, None where its sampler decides."""
    each = task.generator.sampler.evaluations
    return each and (task.generator.grid_steps - 1) * each + 1


def moments_in(path: str) -> tuple[np.ndarray, np.ndarray, int]:
    """(mean, covariance, count) of an .npz of another project; UserError where it is none."""
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            count = int(arrays["count"]) if "count" in arrays else 50_000
            return arrays["mu"], arrays["sigma"], count
    except Exception as error:  # numpy and zipfile raise whatever a broken file leads to
        raise UserError(
            f"evaluate.reference={path} is no .npz with arrays mu and sigma; give one that is, or "
            "leave it empty to compare with the data"
        ) from error


def digest_of_file(path: str) -> str:
    """The sha256 of a file, "" for none."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""


def append(path: Path, results: Sequence[Result]) -> None:
    """Add results to a file of one JSON object a line; what it held stays."""
    lines = path.read_text().splitlines() if path.exists() else []
    lines += [names.as_text(result._asdict()) for result in results]
    files.write_text(path, "\n".join(lines) + "\n")
