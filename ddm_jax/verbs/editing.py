"""Edit with a trained run: walk between noises, or noise examples part of the way and back."""

import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax import files
from ddm_jax.config.setup import Setup
from ddm_jax.data import sources
from ddm_jax.data.dataset import check_same_data
from ddm_jax.diffusion.arrays import normal_like
from ddm_jax.diffusion.editing.closeness import psnr
from ddm_jax.diffusion.editing.levels import from_level
from ddm_jax.diffusion.editing.walks import slerp
from ddm_jax.diffusion.process import diffuse
from ddm_jax.figures import films
from ddm_jax.tasks.base import Weights, completed
from ddm_jax.training.layout import Layout, alone
from ddm_jax.verbs import names, pictures
from ddm_jax.verbs.opened import Loaded, Opened
from ddm_jax.verbs.sampling import draw_film, finite, in_batches


def edit(opened: Opened, layout: Layout) -> None:
    """Do what `edit.kind` says and write its pictures and arrays into `edits/`.

    The first process does it alone. The weights are the averaged ones of the newest checkpoint.
    Names of files begin with its step, the kind and how images are drawn, and end with a digest of
    the settings, which stand as JSON among the arrays.
    """
    if not layout.first:
        return
    layout = alone(layout)
    loaded, task = opened.load(layout), opened.setup.task
    kind, step = task.edit.kind, loaded.step
    path = opened.folder / "edits" / f"step_{step}_{kind}_{names.drawn_as(task.generator)}"
    print(f"{kind} at step {step:,} on {layout.describe()}", flush=True)
    EDITS[kind](opened.setup, layout, loaded, path)


def interpolate(setup: Setup, layout: Layout, loaded: Loaded, path: Path) -> None:
    """Images along the great circle between the start noises of two: strip, GIF and arrays.

    All frames have the class, and the sampler's noise if it draws any, of the first of the pair.
    So the first frame is the run's own sample, and the last is where sampler and class let it be.
    """
    generator, options = setup.task.generator, setup.task.edit
    if generator.sampler.convergence is None:
        print("warning: this sampler draws noise, the same in all frames", file=sys.stderr)
    pair = np.array(options.pair, np.int32)
    shares = np.linspace(0, 1, options.frames, dtype=np.float32)

    def walk(weights: Weights, share: Array) -> Array:
        first = jnp.full(len(share), pair[0])
        start, end = (generator.start(weights, jnp.full(len(share), k)) for k in pair)
        x = slerp(start, end, share)
        return generator.generate_from(weights, first, x, generator.asked(first))

    program = layout.compile(walk, split=(False, True), stacked=True)

    def call(part: np.ndarray) -> np.ndarray:
        return layout.gather(program(loaded.weights, layout.shard(shares[part])))

    index = np.arange(len(shares))
    images = finite(in_batches(layout, call, index, generator.options.batch, print), index)
    edited = {"pair": pair.tolist(), "frames": options.frames}
    settings = {**names.drawing(generator, loaded.origins), "edit": edited}
    path = path.with_name(f"{path.name}_{pair[0]}_{pair[1]}_{names.digest(settings)}")
    png, gif, npz = (path.with_name(f"{path.name}.{end}") for end in ("png", "gif", "npz"))
    few = pictures.spread(len(images), 10)
    columns = [f"{shares[k]:.2f}" for k in few]
    title = f"From the noise of image {pair[0]} to that of image {pair[1]}, by the share of the way"
    if asked := generator.names(pair[:1]):
        title += f"; class {asked[0]}"
    artist = pictures.artist(generator)
    artist.strip(images[None, few], png, [""], columns, title)
    artist.animation(films.there_and_back(images)[:, None], gif, ms=80, hold=80)
    text = names.as_text(settings)
    files.write_arrays(npz, images=images, weight=shares, pair=pair, settings=text)
    print(f"wrote {png}, {gif} and {npz}")


def denoise(setup: Setup, layout: Layout, loaded: Loaded, path: Path) -> None:
    """Training examples noised to each level and sampled from there: strips, GIFs and arrays.

    Prints for every level the mean over the examples of the result's PSNR against the original.
    Example k has the noise that sample k starts from, and its own class.
    """
    generator, options = setup.task.generator, setup.task.edit
    schedule, weights = setup.task.model.schedule, loaded.weights
    data = sources.load(setup.data, print)
    check_same_data(data.spec, setup.spec)
    index = np.arange(data.spec.count, dtype=np.int32)[options.first :][: options.count]
    rows = completed(setup.task, data).rows(index)
    values = rows["x"]
    original, (low, high) = setup.spec.show(values), setup.spec.shown
    condition = setup.task.model.condition
    asked = generator.asked(index)._replace(raw=condition.raw(rows))
    captions = pictures.named("example", index, condition.names(rows))

    @jax.jit
    def noised(weights: Weights, t: Array) -> Array:
        x0 = generator.codec.encode(values, weights.borrowed)
        eps = normal_like(generator.noise_key(jnp.asarray(index)), x0)
        return diffuse(generator.schedule(weights), x0, eps, t)

    path = path.with_name(f"{path.name}_from_{options.first}")
    levels = options.levels or (int(0.6 * schedule.num_timesteps),)
    grid = generator.times(weights)
    for level in levels:
        t = np.float32(level / (schedule.num_timesteps - 1))
        x, times = np.asarray(noised(weights, t)), from_level(grid, t)
        film = draw_film(generator, layout, weights, index, print, times=times, x=x, asked=asked)
        result = film.x0[-1]
        quality = np.asarray(psnr(result / (high - low), original / (high - low)))
        where = f"level {level:,} of {schedule.num_timesteps:,} (t = {t:.3f})"
        print(f"{where}: PSNR {quality.mean():.2f} dB, mean of {len(index):,}", flush=True)
        edited = {"first": options.first, "count": options.count, "level": level}
        settings = {**names.drawing(generator, loaded.origins), "edit": edited}
        stem = f"{path.name}_level_{level}_{names.digest(settings)}"
        png, gif, npz = (path.with_name(f"{stem}.{end}") for end in ("png", "gif", "npz"))
        pictures.write_strip(
            generator, film, captions, f"Noised to {where} and back", png, original
        )
        pictures.write_animation(generator, film, gif)
        arrays = {"original": original, "noised": x, "result": result, "psnr": quality}
        text = names.as_text(settings)
        files.write_arrays(npz, index=index, level=level, settings=text, **arrays)
        print(f"wrote {png}, {gif} and {npz}", flush=True)


EDITS: dict[str, Callable[[Setup, Layout, Loaded, Path], None]] = {
    "interpolate": interpolate,
    "denoise": denoise,
}
