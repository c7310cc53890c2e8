"""Compare a set of samples with a set of data by the metrics of sets.

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

from ddm_jax import files
from ddm_jax.data.sample_files import read_samples
from ddm_jax.diffusion.conditions import Raw
from ddm_jax.errors import UserError
from ddm_jax.evaluation.protocol import BYTE_RULE, code, named
from ddm_jax.evaluation.sets import SET_METRICS
from ddm_jax.evaluation.sets.base import Moments
from ddm_jax.evaluation.sets.frechet import frechet, of_moments, of_rows
from ddm_jax.figures.plots import to_uint8
from ddm_jax.tasks.diffusion import Diffusion
from ddm_jax.tasks.generator import Asked
from ddm_jax.training.layout import Layout
from ddm_jax.training.processes import together
from ddm_jax.verbs import names
from ddm_jax.verbs.looking import Chosen, Eye, asked_of, chosen, look, look_at_data, make_eye
from ddm_jax.verbs.opened import Loaded, Opened
from ddm_jax.verbs.resumable import in_parts, part_size
from ddm_jax.verbs.sampling import make_draw


class Result(NamedTuple):
    """A number with all that shaped it. floor: of data against the same reference."""

    metric: str
    name: str
    value: float
    numbers: Mapping[str, Any]
    floor: Mapping[str, Any] | None
    protocol: Mapping[str, Any]


Found = list[tuple[Result, list[str]]]  # numbers, and the lines that say them


def make_compare(
    opened: Opened, loaded: Loaded, layout: Layout, metrics: Sequence[str]
) -> Callable[[Loaded], Found]:
    """compare(loaded) -> the rows `metrics` of SET_METRICS for weights of a run.

    Empty but on the first process. loaded: whose borrowed weights all that are compared have. What
    compares is compiled once. Raises UserError for what cannot be compared.
    """
    task: Diffusion = opened.setup.task
    options, say = task.evaluate, layout.say
    with together(layout):
        eye = make_eye(opened, loaded, layout)
        check(task, eye, metrics)
        published = options.reference and moments_in(options.reference)
        reference, other = chosen(opened.setup, say)
        given = (None, None) if options.source else conditions(task, reference)
        check_asked(given[0], metrics)
    draw_all = make_samples(opened, layout, *given)

    def compare(loaded: Loaded) -> Found:
        drawn, values, asked = draw_all(loaded)
        count, data = len(values), len(reference.places)
        step = None if options.source else loaded.step
        say(f"looking at {count:,} samples and {data:,} examples by {eye.title}")
        folder = opened.folder / "evaluation" / f"features_{names.digest({**drawn, **eye.about})}"
        seen = look(layout, eye, folder, values, say=say)._replace(asked=asked_of(eye, asked))
        real = None if published else look_at_data(layout, eye, reference, say)
        floor = look_at_data(layout, eye, other._replace(places=other.places[:count]), say)
        about = {"data": task.spec.name, **reference.about, "examples": data}
        protocol = {
            "step": step,
            "count": count,
            "samples": drawn,
            "features": eye.about,
            "reference": {"file": digest_of_file(options.reference)} if published else about,
            "byte_rule": BYTE_RULE if task.spec.levels else "none",
            "resizer": "none",
            "seed": options.seed,
            "code": code(),
        }

        def result(metric: str) -> tuple[Result, list[str]]:
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
            return Result(metric, name, value, numbers, beside, record), lines

        with together(layout):
            return [result(metric) for metric in metrics] if layout.first else []

    return compare


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


def check_asked(told: Sequence[str] | None, metrics: Sequence[str]) -> None:
    """Raises UserError where samples are asked to be nothing and metrics need to know what."""
    for name in metrics:
        if SET_METRICS[name].of_asked and told is None:
            raise UserError(
                f"evaluate.metrics={name} compares samples with what they were asked to be, which "
                "is nothing here; leave it out, or measure a model that is told classes"
            )


def make_samples(
    opened: Opened, layout: Layout, told: list[str] | None, raw: Asked | None
) -> Callable[[Loaded], tuple[dict[str, Any], np.ndarray, list[str] | None]]:
    """samples(loaded) -> (what shaped them, values as the data store them (n, ...), the class each
    was asked to be).

    Those of `evaluate.source`, or drawn with weights of the run and kept below its folder in parts.
    told, raw: what `conditions` gives.
    """
    task: Diffusion = opened.setup.task
    options, generator, spec = task.evaluate, task.generator, task.spec
    if options.source:
        values = read_samples(options.source, spec)
        sha256 = hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()
        about = {"source": Path(options.source).name, "sha256": sha256}
        return lambda loaded: (about, values, None)
    if generator.needs_request and raw is None:
        raise UserError(f"{generator.how_to_ask}, or leave evaluate.conditions=data")
    count, draw = options.samples, make_draw(generator, layout, raw)

    def samples(loaded: Loaded) -> tuple[dict[str, Any], np.ndarray, list[str] | None]:
        settings = {
            "weights": {"kind": options.weights, **loaded.origins.get("", {})},
            "network_calls": evaluations(task),
            "conditions": options.conditions,
            **names.drawing(generator, loaded.origins),
        }
        if raw is not None:
            settings["told"] = names.digest_of_arrays(raw)
        drawn = {**settings, "code": code()}
        folder = opened.folder / "evaluation" / f"samples_{names.digest(drawn)}"

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

    return samples


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
