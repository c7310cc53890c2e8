"""Draw images from a trained run: a PNG grid and the arrays.

Several processes each draw a share of the images, and the first one writes.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ddm_jax import files
from ddm_jax.errors import RunError
from ddm_jax.figures.plots import to_uint8
from ddm_jax.recipe import Recipe
from ddm_jax.runs import averaged_weights
from ddm_jax.training.parallel import Layout, alone, from_first, gather, share, together
from ddm_jax.verbs import names, pictures

Say = Callable[[str], None]


def in_batches(
    layout: Layout,
    call: Callable[[np.ndarray], Any],
    index: np.ndarray,
    batch: int,
    say: Say,
    done: str = "sampled",
) -> Any:
    """call(part) for equal parts of `index` (n,), the last one filled up and cut; leaves (n, ...).

    Every process calls its share of them, on its own devices, over which parts divide, and has all
    results. They are exchanged after each part, so that none waits for long and no device holds
    more than a part of each process. It says where it is after each part that took long.
    """
    devices, mine = len(layout.devices), share(layout, index)
    size = -(-min(batch, len(mine)) // devices) * devices
    rows, spoke = [], time.monotonic()
    for start in range(0, len(mine), size):
        rows.append(gather(layout, call(np.resize(mine[start : start + size], size))))
        if time.monotonic() - spoke > 5 and start + size < len(mine):
            say(f"{done} {(start + size) * layout.processes:,} of {len(index):,}")
            spoke = time.monotonic()

    def joined(*parts: np.ndarray) -> np.ndarray:
        found = np.concatenate(parts, axis=1)[:, : len(mine)]
        return found.reshape(-1, *found.shape[2:])[: len(index)]

    return jax.tree.map(joined, *rows)


def restored(recipe: Recipe, workdir: Path, layout: Layout) -> tuple[int, Any]:
    """(step, averaged weights) of the newest usable checkpoint, on every process's devices.

    The first process reads them, so that all have those of the same step.
    """
    like = jax.eval_shape(recipe.init_params)
    found = np.array(0), jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), like)
    with together(layout):
        if layout.first:
            found = averaged_weights(recipe, workdir)
    step, weights = from_first(layout, found)
    return int(step), alone(layout).place(weights)


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


def make_draw(recipe: Recipe, layout: Layout) -> Callable[..., np.ndarray]:
    """draw(params, count, say) -> images 0 .. count - 1 in [0, 1], float32 (count, H, W, C).

    One compiled loop for every batch, on all devices. All processes must draw, and have all images.
    """
    own = alone(layout)
    generate = own.compile(recipe.generate, split=(False, True), stacked=True)

    def draw(params: Any, count: int, say: Say) -> np.ndarray:
        def call(index: np.ndarray):
            return own.join(generate(params, own.put(index)))

        index = np.arange(count, dtype=np.int32)
        return finite(in_batches(layout, call, index, recipe.sample.batch, say), index)

    return draw


def draw_film(
    recipe: Recipe,
    layout: Layout,
    params: Any,
    index: np.ndarray,
    say: Say,
    times: np.ndarray | None = None,
    x: np.ndarray | None = None,
    labels: np.ndarray | None = None,
) -> pictures.Film:
    """The way that images `index` (n,) take from noise.

    times, x (n, H, W, C) and labels (n,) are the run's own where they are not given. All processes
    must draw, and have all of it.
    """
    own = alone(layout)
    times = np.asarray(recipe.sampling_times(params) if times is None else times)
    labels = np.asarray(recipe.image_classes(index) if labels is None else labels)
    x = np.asarray(jax.jit(recipe.start)(params, index) if x is None else x)
    chosen = pictures.spread(len(times))

    def film(params, index, x, labels):
        return recipe.film(params, index, x, labels, times, chosen)

    program = own.compile(film, split=(False, True, True, True), stacked=True)

    def call(part: np.ndarray):
        batch = own.put((index[part], x[part], labels[part]))
        return own.join(program(params, *batch))

    found = in_batches(layout, call, np.arange(len(index)), recipe.sample.batch, say)
    x_t, x0 = (np.moveaxis(finite(a, index), 1, 0) for a in found)
    seen = pictures.shown(recipe, params, x_t, times)
    return pictures.Film(times, seen, chosen, np.asarray(recipe.scaling.decode(x0)))


def sample(recipe: Recipe, workdir: Path, layout: Layout) -> None:
    """Write `samples/step_<step>_<sampler>_<times>_seed_<seed>_<digest>.png` and `.npz`.

    The arrays are images, index, labels of a conditional model, and the settings as JSON, of which
    the name has the digest. The weights are the averaged ones of the newest checkpoint. With
    sample.film=n the way of the first n images too: a strip `..._film_<n>.png` and an animation
    `..._film_<n>.gif`.
    """
    step, params = restored(recipe, workdir, layout)
    count, filmed = recipe.sample.count, np.arange(recipe.sample.film, dtype=np.int32)
    layout.say(f"sampling {count:,} images from step {step:,} on {layout.describe()}")
    images = make_draw(recipe, layout)(params, count, layout.say)
    film = draw_film(recipe, layout, params, filmed, layout.say) if len(filmed) else None
    if not layout.first:
        return
    settings = names.samples(recipe)
    stem = f"step_{step}_{names.drawn_as(recipe)}_{names.digest(settings)}"
    path = workdir / "samples" / stem
    pictures.write_grid(recipe, images, path.with_suffix(".png"))
    index = np.arange(count)
    arrays = {"images": to_uint8(images), "index": index, "settings": names.as_text(settings)}
    if recipe.model.conditional:
        arrays["labels"] = np.asarray(recipe.image_classes(index))
    files.write_arrays(path.with_suffix(".npz"), **arrays)
    print(f"wrote {path}.png and {path}.npz")
    if film:
        write_film(recipe, film, path.with_name(f"{stem}_film_{len(filmed)}"), print)


def write_film(recipe: Recipe, film: pictures.Film, path: Path, say: Say) -> None:
    """Write `<path>.png` and `.gif`, the way of the first images of the run."""
    index = np.arange(film.x_t.shape[1])
    classes = pictures.class_names(recipe, index) if recipe.model.conditional else None
    captions = pictures.named("image", index, classes)
    strip, gif = path.with_suffix(".png"), path.with_suffix(".gif")
    pictures.write_strip(recipe, film, captions, "From noise to images", strip)
    pictures.write_animation(film, gif)
    say(f"wrote {strip} and {gif}")
