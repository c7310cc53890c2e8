"""Draw images from a trained run: a PNG grid and the arrays.

Several processes each draw a share of the images, and the first one writes.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from ddm_jax import files
from ddm_jax.errors import RunError, UserError
from ddm_jax.figures.plots import to_uint8
from ddm_jax.output import told_every
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.generator import Asked, Generator
from ddm_jax.training.layout import Layout, alone
from ddm_jax.training.processes import allgather, share
from ddm_jax.verbs import names, pictures
from ddm_jax.verbs.opened import Opened

Say = Callable[[str], None]

SILENCE = 60.0  # seconds that a batch may take before it is told that it is under way


def in_batches(
    layout: Layout,
    call: Callable[[np.ndarray], Any],
    index: np.ndarray,
    batch: int,
    *,
    say: Say,
    done: str = "sampled",
    before: int = 0,
    total: int = 0,
) -> Any:
    """call(part) for equal parts of `index` (n,), the last one filled up and cut; leaves (n, ...).

    Every process calls its share of them, on its own devices, over which parts divide, and has all
    results. They are exchanged after each part, so that none waits for long and no device holds
    more than a part of each process. It says where it is after each part that took long, and once
    a minute within one; of more work than this, so many were done `before`, of `total`.
    """
    devices, mine = len(layout.devices), share(layout, index)
    total = total or len(index)
    size = -(-min(batch, len(mine)) // devices) * devices
    rows, spoke = [], time.monotonic()
    for start in range(0, len(mine), size):

        def under_way(seconds: float, start: int = start) -> str:
            at, part = start * layout.processes, min(size, len(mine) - start) * layout.processes
            what = f"{done} {before + at:,} of {total:,}"
            return f"{what}; {part:,} more are under way since {seconds / 60:.0f} min"

        with told_every(SILENCE, say, under_way):
            rows.append(allgather(layout, call(np.resize(mine[start : start + size], size))))
        if time.monotonic() - spoke > 5 and start + size < len(mine):
            say(f"{done} {before + (start + size) * layout.processes:,} of {total:,}")
            spoke = time.monotonic()

    def joined(*parts: np.ndarray) -> np.ndarray:
        found = np.concatenate(parts, axis=1)[:, : len(mine)]
        return found.reshape(-1, *found.shape[2:])[: len(index)]

    return jax.tree.map(joined, *rows)


def finite(images: np.ndarray, index: np.ndarray) -> np.ndarray:
    """`images` (n, ...) as they are; RunError names those of `index` (n,) that are not finite."""
    bad = index[~np.isfinite(images).reshape(len(index), -1).all(1)]
    if len(bad):
        few = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        raise RunError(
            f"{len(bad):,} of {len(index):,} images are not finite and not written: {few}. Take "
            "another sampler, more sample.steps or sample.clip=static, or train at a lower optim.lr"
        )
    return images


def make_draw(
    generator: Generator, layout: Layout, told: Asked | None = None
) -> Callable[..., np.ndarray]:
    """draw(weights, count, say, first=0) -> examples first .. first + count - 1, float32, in the
    range `spec.shown`.

    told: what examples (n,) are to be, where it is not what the run asks for. One compiled loop for
    every batch, on all devices. All processes must draw, and have all images.
    """
    own = alone(layout)

    def generate(weights: Weights, index: Array, asked: Asked | None) -> Array:
        if asked is None:
            return generator.generate(weights, index)
        return generator.generate_as(weights, index, asked)

    program = own.compile(generate, split=(False, True, True), stacked=True)

    def draw(weights: Weights, count: int, say: Say, first: int = 0) -> np.ndarray:
        def call(index: np.ndarray) -> np.ndarray:
            asked = jax.tree.map(lambda a: np.asarray(a)[index], told)
            return own.gather(program(weights, *own.shard((index, asked))))

        index = np.arange(first, first + count, dtype=np.int32)
        return finite(in_batches(layout, call, index, generator.options.batch, say=say), index)

    return draw


def draw_film(
    generator: Generator,
    layout: Layout,
    weights: Weights,
    index: np.ndarray,
    *,
    say: Say,
    asked: Asked | None = None,
) -> pictures.Film:
    """The way that images `index` (n,) take from noise.

    What is asked for is the run's own where it is not given. All processes must draw, and have all
    of it.
    """
    own = alone(layout)
    grid = np.asarray(generator.times(weights))
    told = jax.tree.map(np.asarray, generator.asked(index) if asked is None else asked)
    chosen = pictures.spread(len(grid))

    def film(weights: Weights, index: Array, asked: Asked) -> tuple[Array, Array]:
        return generator.film(weights, index, asked, times=grid, chosen=chosen)

    program = own.compile(film, split=(False, True, True), stacked=True)

    def call(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mine = jax.tree.map(lambda a: a[part], told)
        return own.gather(program(weights, *own.shard((index[part], mine))))

    found = in_batches(layout, call, np.arange(len(index)), generator.options.batch, say=say)
    x_t, x0 = (np.moveaxis(finite(a, index), 1, 0) for a in found)
    seen = pictures.shown(generator, weights, x_t, grid)
    decoded = generator.codec.decode(x0, weights.borrowed)
    return pictures.Film(grid, seen, chosen, np.asarray(decoded))


def sample(opened: Opened, layout: Layout) -> None:
    """Write `samples/step_<step>_<sampler>_<times>_seed_<seed>_<digest>.png` and `.npz`.

    The arrays are images, index, what was asked of each, its place among the classes, and the
    settings as JSON, of which the name has the digest. The weights are the averaged ones. With
    sample.film=n the way of the first n images too: a strip `..._film_<n>.png` and an animation
    `..._film_<n>.gif`.
    """
    generator: Generator = opened.setup.task.generator
    if generator.needs_request:
        raise UserError(generator.how_to_ask)
    step, weights, origins = opened.load(layout)
    count, filmed = generator.options.count, np.arange(generator.options.film, dtype=np.int32)
    layout.say(f"sampling {count:,} images from step {step:,} on {layout.describe()}")
    images = make_draw(generator, layout)(weights, count, layout.say)
    film = draw_film(generator, layout, weights, filmed, say=layout.say) if len(filmed) else None
    if not layout.first:
        return
    settings = names.samples(generator, origins)
    stem = f"step_{step}_{names.drawn_as(generator)}_{names.digest(settings)}"
    path = opened.folder / "samples" / stem
    pictures.write_grid(generator, images, path.with_suffix(".png"))
    index = np.arange(count)
    values = to_uint8(images) if generator.spec.levels else images
    arrays = {"images": values, "index": index, "settings": names.as_text(settings)}
    if (named := generator.names(index)) is not None:
        arrays["asked"] = np.array(named)
        if generator.choices:
            arrays["labels"] = np.array([generator.choices.index(name) for name in named], np.int32)
    files.write_arrays(path.with_suffix(".npz"), **arrays)
    print(f"wrote {path}.png and {path}.npz")
    if film:
        write_film(generator, film, path.with_name(f"{stem}_film_{len(filmed)}"), print)


def write_film(generator: Generator, film: pictures.Film, path: Path, say: Say) -> None:
    """Write `<path>.png` and `.gif`, the way of the first images of the run."""
    index = np.arange(film.x_t.shape[1])
    captions = pictures.named(generator, "image", index, generator.names(index))
    strip, gif = path.with_suffix(".png"), path.with_suffix(".gif")
    pictures.write_strip(generator, film, captions, "From noise to samples", path=strip)
    pictures.write_animation(generator, film, gif)
    say(f"wrote {strip} and {gif}")
