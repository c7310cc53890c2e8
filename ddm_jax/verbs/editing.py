"""Edit with a trained run: follow the plan of a row of EDITS, and write what it shows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ddm_jax import files
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.edits.base import Done, Edit, Inputs, Shown, carry_out
from ddm_jax.tasks.generator import Generator
from ddm_jax.training.layout import Layout, alone
from ddm_jax.verbs import names, pictures
from ddm_jax.verbs.opened import Opened
from ddm_jax.verbs.originals import gather
from ddm_jax.verbs.sampling import finite, in_batches


def edit(opened: Opened, layout: Layout) -> None:
    """Do what `edit.name` says and write its pictures and arrays into `edits/`.

    The first process does it alone. The weights are the averaged ones of the newest checkpoint.
    Names of files begin with its step, the edit and how images are drawn, and end with a digest of
    the settings and of the pictures; the settings stand beside them as JSON.
    """
    if not layout.first:
        return
    layout, setup = alone(layout), opened.setup
    row: Edit = setup.task.edit
    generator = row.using(setup.task.generator)
    originals = gather(setup, row.wanted(), print)
    settings, name = {"edit": names.chosen("edit", row)}, names.chosen("edit", row)["name"]
    loaded = opened.load(layout)
    times = np.asarray(generator.times(loaded.weights))
    parts = row.parts(generator, times, originals)
    print(f"{name} at step {loaded.step:,} on {layout.describe()}", flush=True)
    if originals.names and generator.requested:
        asked = ", ".join(map(repr, generator.requested))
        print(f"asked for, in turn: {asked}; --config.sample.ask=() and .classes=() for none")
    done = {
        part: carried_out(layout, generator, loaded.weights, own, inputs=inputs)
        for part, (own, inputs) in parts.items()
    }
    settings = {**names.drawing(generator, loaded.origins), **settings}
    if originals.source:
        settings["pictures"] = dict(originals.source)
    stem = f"step_{loaded.step}_{name}_{names.drawn_as(generator)}_{names.digest(settings)}"
    shown = row.show(generator, originals, done)
    write(generator, shown, settings, opened.folder / "edits" / stem)


def carried_out(
    layout: Layout, generator: Generator, weights: Weights, row: Edit, *, inputs: Inputs
) -> Done:
    """`carry_out` of a part in batches of `sample.batch`, whose results are finite."""
    arrays = inputs._asdict()
    times = arrays.pop("times")
    shared = {name: arrays.pop(name) for name in row.shared}

    def program(weights: Weights, shared: Mapping[str, Any], own: Mapping[str, Any]) -> Done:
        return carry_out(row, generator, weights, Inputs(times, **shared, **own))

    compiled = layout.compile(program, split=(False, False, True), stacked=True)
    same = layout.replicate(shared)
    places = np.arange(len(inputs.numbers))

    def call(part: np.ndarray) -> Done:
        own = jax.tree.map(lambda a: np.asarray(a)[part], arrays)
        return layout.gather(compiled(weights, same, layout.shard(own)))

    done = in_batches(layout, call, places, generator.options.batch, say=print, done="edited")
    for array in done:
        finite(array, places)
    return done


def write(generator: Generator, shown: Shown, settings: Mapping[str, Any], path: Path) -> None:
    """Write `<path>.png`, `.npz` and `.json`, and `<path>_<end>.gif` of each film."""
    artist = pictures.artist(generator)
    png, npz, text = (path.with_name(f"{path.name}.{end}") for end in ("png", "npz", "json"))
    rows = artist.room.strip  # the arrays hold all
    artist.strip(shown.rows[:rows], png, shown.names[:rows], shown.columns, title=shown.title)
    wrote = [png]
    for end, film in shown.films.items():
        wrote.append(path.with_name(f"{path.name}{end and '_' + end}.gif"))
        artist.animation(film.frames, wrote[-1], film.ms, film.hold)
    files.write_arrays(npz, settings=names.as_text(settings), **shown.arrays)
    files.write_json(text, settings)
    for line in shown.lines:
        print(line)
    print(f"wrote {', '.join(map(str, [*wrote, npz]))} and {text}", flush=True)
