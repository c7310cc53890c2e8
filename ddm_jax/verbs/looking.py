"""Look at sets: the features of examples, of samples and of the data they are held against."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from ddm_jax.config.setup import Setup
from ddm_jax.data import sources
from ddm_jax.data.cache import cache_folder
from ddm_jax.data.dataset import Dataset, NoSplit
from ddm_jax.errors import UserError
from ddm_jax.evaluation.protocol import code
from ddm_jax.evaluation.sets.base import FeatureSet
from ddm_jax.tasks.base import completed
from ddm_jax.tasks.diffusion import Diffusion
from ddm_jax.training.layout import Layout, alone
from ddm_jax.verbs import names
from ddm_jax.verbs.opened import Loaded, Opened
from ddm_jax.verbs.resumable import in_parts, part_size
from ddm_jax.verbs.sampling import Say, in_batches

# (values (n, ...), those before them, of how many) -> features, log_probs
See = Callable[[np.ndarray, int, int], dict[str, np.ndarray]]


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


def make_eye(opened: Opened, loaded: Loaded, layout: Layout) -> Eye:
    """The features of a run's config, ready to see; UserError where they cannot."""
    task: Diffusion = opened.setup.task
    row, own = task.features, alone(layout)
    about = {**names.chosen("features", row), "values": list(task.spec.values)}
    about.pop("spec", None)
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

    def all_of(values: np.ndarray, before: int, total: int) -> dict[str, np.ndarray]:
        def call(part: np.ndarray) -> dict[str, np.ndarray]:
            return own.gather(program(params, own.shard(np.asarray(values[part]))))

        index = np.arange(len(values))
        how = {"say": layout.say, "done": "looked at", "before": before, "total": total}
        return in_batches(layout, call, index, task.evaluate.batch, **how)

    about = {**about, "sha256": sha256}
    return Eye(all_of, like, about, row.title, row.classes(task.lent))


def look(layout: Layout, eye: Eye, folder: Path, values: np.ndarray, *, say: Say) -> FeatureSet:
    """What is seen of values (n, ...), kept in parts below `folder`."""

    def make(first: int, n: int) -> dict[str, np.ndarray]:
        return eye.see(values[first : first + n], first, len(values))

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
    seen, label = look(layout, eye, folder, values, say=say), data.columns.get("label")
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
