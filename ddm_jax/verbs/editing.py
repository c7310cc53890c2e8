"""Edit with a trained run: walk between noises, or noise examples part of the way and back."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddm_jax import files
from ddm_jax.data import sources
from ddm_jax.data.dataset import check_same_data
from ddm_jax.diffusion.arrays import normal_like
from ddm_jax.diffusion.editing import from_level, psnr, slerp
from ddm_jax.diffusion.process import diffuse
from ddm_jax.figures import films, plots
from ddm_jax.recipe import Recipe
from ddm_jax.runs import averaged_weights
from ddm_jax.training.parallel import Layout, alone
from ddm_jax.verbs import names, pictures
from ddm_jax.verbs.sampling import draw_film, finite, in_batches


def edit(recipe: Recipe, workdir: Path, layout: Layout) -> None:
    """Do what `edit.kind` says and write its pictures and arrays into `edits/`.

    The first process does it alone. The weights are the averaged ones of the newest checkpoint.
    Names of files begin with its step, the kind and how images are drawn, and end with a digest of
    the settings, which stand as JSON among the arrays.
    """
    if not layout.first:
        return
    layout = alone(layout)
    step, weights = averaged_weights(recipe, workdir)
    kind = recipe.edit.kind
    path = workdir / "edits" / f"step_{step}_{kind}_{names.drawn_as(recipe)}"
    print(f"{kind} at step {step:,} on {layout.describe()}", flush=True)
    EDITS[kind](recipe, layout, layout.place(weights), path)


def interpolate(recipe: Recipe, layout: Layout, params: Any, path: Path) -> None:
    """Images along the great circle between the start noises of two: strip, GIF and arrays.

    All frames have the class, and the sampler's noise if it draws any, of the first of the pair.
    So the first frame is the run's own sample, and the last is where sampler and class let it be.
    """
    if recipe.sampler.convergence is None:
        print("warning: this sampler draws noise, the same in all frames", file=sys.stderr)
    pair = np.array(recipe.edit.pair, np.int32)
    weights = np.linspace(0, 1, recipe.edit.frames, dtype=np.float32)

    def walk(params, weight):
        first = jnp.full(len(weight), pair[0])
        start, end = (recipe.start(params, jnp.full(len(weight), k)) for k in pair)
        x = slerp(start, end, weight)
        return recipe.generate_from(params, first, x, recipe.image_classes(first))

    program = layout.compile(walk, split=(False, True), stacked=True)

    def call(part: np.ndarray):
        return layout.join(program(params, layout.put(weights[part])))

    index = np.arange(len(weights))
    images = finite(in_batches(layout, call, index, recipe.sample.batch, print), index)
    edited = {"pair": pair.tolist(), "frames": recipe.edit.frames}
    settings = {**names.drawing(recipe), "edit": edited}
    path = path.with_name(f"{path.name}_{pair[0]}_{pair[1]}_{names.digest(settings)}")
    png, gif, npz = (path.with_name(f"{path.name}.{end}") for end in ("png", "gif", "npz"))
    few = pictures.spread(len(images), 10)
    columns = [f"{weights[k]:.2f}" for k in few]
    title = f"From the noise of image {pair[0]} to that of image {pair[1]}, by the share of the way"
    if recipe.model.conditional:
        title += f"; class {pictures.class_names(recipe, pair[:1])[0]}"
    plots.strip(images[None, few], [""], columns, title, png)
    films.animation(films.there_and_back(plots.to_uint8(images)), gif, ms=80, hold=80)
    text = names.as_text(settings)
    files.write_arrays(npz, images=images, weight=weights, pair=pair, settings=text)
    print(f"wrote {png}, {gif} and {npz}")


def denoise(recipe: Recipe, layout: Layout, params: Any, path: Path) -> None:
    """Training examples noised to each level and sampled from there: strips, GIFs and arrays.

    Prints for every level the mean over the examples of the result's PSNR against the original.
    Example k has the noise that sample k starts from, and its own class.
    """
    data = sources.load(recipe.data, print)
    check_same_data(data.spec, recipe.spec)
    options = recipe.edit
    index = np.arange(len(data.images), dtype=np.int32)[options.first :][: options.count]
    pixels = np.asarray(data.images[index])
    labels = np.zeros(len(index), np.int32) if data.labels is None else data.labels[index]
    original = (pixels / 255).astype(np.float32)
    classes = [recipe.spec.classes[c] for c in labels] if recipe.model.conditional else None
    captions = pictures.named("example", index, classes)

    @jax.jit
    def noised(params, t):
        x0 = recipe.scaling.encode(pixels)
        eps = normal_like(recipe.noise_key(jnp.asarray(index)), x0)
        return diffuse(recipe.schedule_of(params), x0, eps, t)

    path = path.with_name(f"{path.name}_from_{options.first}")
    levels = options.levels or (int(0.6 * recipe.schedule.num_timesteps),)
    grid = recipe.sampling_times(params)
    for level in levels:
        t = np.float32(level / (recipe.schedule.num_timesteps - 1))
        x, times = np.asarray(noised(params, t)), from_level(grid, t)
        film = draw_film(recipe, layout, params, index, print, times, x, labels)
        result = film.x0[-1]
        quality = np.asarray(psnr(result, original))
        where = f"level {level:,} of {recipe.schedule.num_timesteps:,} (t = {t:.3f})"
        print(f"{where}: PSNR {quality.mean():.2f} dB, mean of {len(index):,}", flush=True)
        edited = {"first": options.first, "count": options.count, "level": level}
        settings = {**names.drawing(recipe), "edit": edited}
        stem = f"{path.name}_level_{level}_{names.digest(settings)}"
        png, gif, npz = (path.with_name(f"{stem}.{end}") for end in ("png", "gif", "npz"))
        pictures.write_strip(recipe, film, captions, f"Noised to {where} and back", png, original)
        pictures.write_animation(film, gif)
        arrays = {"original": original, "noised": x, "result": result, "psnr": quality}
        text = names.as_text(settings)
        files.write_arrays(npz, index=index, level=level, settings=text, **arrays)
        print(f"wrote {png}, {gif} and {npz}", flush=True)


EDITS: dict[str, Callable[[Recipe, Layout, Any, Path], None]] = {
    "interpolate": interpolate,
    "denoise": denoise,
}
