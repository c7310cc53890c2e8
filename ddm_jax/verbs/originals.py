"""The pictures that an edit is asked to work on: examples of the data, or the user's own."""

import dataclasses
import hashlib
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from ddm_jax.config.setup import Setup
from ddm_jax.data import sources
from ddm_jax.data.dataset import check_same_data
from ddm_jax.data.pictures import read_pictures
from ddm_jax.errors import UserError
from ddm_jax.tasks.base import completed
from ddm_jax.tasks.edits.base import Originals, Wanted
from ddm_jax.tasks.generator import Asked, Generator
from ddm_jax.verbs import pictures

Say = Callable[[str], None]


def gather(setup: Setup, wanted: Wanted, say: Say) -> Originals:
    """What `wanted` names, with the condition that it has by itself.

    That is what the data say of an example; of the user's own pictures nothing is known, but that
    they are pictures, which is all that some models are told. Raises
    UserError for files that cannot be used, data that are not those of the run, and where a
    classifier guides to a class that nothing says.
    """
    if setup.task.generator.needs_request and not (wanted.files or wanted.examples):
        raise UserError(setup.task.generator.how_to_ask)
    if wanted.files:
        return _files(setup, wanted, say)
    if wanted.examples:
        return _examples(setup, wanted, say)
    nothing = np.zeros((0, *setup.spec.shape), np.float32)
    return Originals(np.zeros(0, np.int32), nothing, Asked(None, jnp.zeros(0, jnp.int32)), [])


def _files(setup: Setup, wanted: Wanted, say: Say) -> Originals:
    generator: Generator = setup.task.generator
    values, files, sizes = read_pictures(wanted.files, setup.spec, say)
    count = len(values)
    if generator.judged and not generator.requested:
        raise UserError(_SAY_WHICH)
    condition, names = generator.model.condition, [file.name for file in files]
    shows = "maps" in condition.parts
    raw = condition.ask([str(file) for file in files]) if shows else condition.null(count)
    own = Asked(raw, jnp.zeros(count, jnp.int32))
    source = {"files": names, "sha256": hashlib.sha256(values.tobytes()).hexdigest()}
    return Originals(np.arange(count, dtype=np.int32), values, own, names, sizes, source)


def _examples(setup: Setup, wanted: Wanted, say: Say) -> Originals:
    task, generator = setup.task, setup.task.generator
    data = sources.load(setup.data, say)
    check_same_data(data.spec, setup.spec)
    among = wanted.examples[: data.spec.count + 1]  # more than there are say nothing new
    index = np.array([k for k in among if k < data.spec.count], np.int32)
    chosen = dataclasses.replace(data, columns=data.rows(index))
    rows = completed(task, chosen).columns
    label = np.zeros(len(index), np.int32)
    if generator.judged:
        classes = [data.spec.classes[k] for k in rows["label"]] if data.spec.classes else []
        if set(classes) <= set(generator.judged) and classes:
            label = np.array([generator.judged.index(name) for name in classes], np.int32)
        elif not generator.requested:
            raise UserError(_SAY_WHICH)
    condition = generator.model.condition
    own = Asked(condition.raw(rows), jnp.asarray(label))
    names = pictures.named(generator, "example", index, condition.names(rows))
    return Originals(index, rows["x"], own, names, (), {"examples": index.tolist()})


_SAY_WHICH = (
    "a classifier leads this run to classes, and nothing says to which these pictures are led; add "
    "--config.sample.ask=\"('<class>',)\", or --config.guidance.name=none"
)
