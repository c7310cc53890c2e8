"""The pictures of a run: what the verbs draw of a recipe's images, in files."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddm_jax import files
from ddm_jax.diffusion.arrays import normal_like
from ddm_jax.diffusion.process import diffuse
from ddm_jax.figures import films, plots
from ddm_jax.recipe import Recipe
from ddm_jax.verbs import names

GRID_LIMIT = 400  # images in a PNG; the arrays hold all
STRIP_LIMIT = 4  # images in a strip of two rows each
COLUMNS = 8  # times in a strip
FRAMES = 40  # times in an animation


class Film(NamedTuple):
    """The way of B images from noise, in [0, 1] as they are shown.

    times: (n,); x_t: (n, B, H, W, C); chosen: (m,) places in times; x0: (m, B, H, W, C), the
    estimates there, of which the last are the samples.
    """

    times: np.ndarray
    x_t: np.ndarray
    chosen: np.ndarray
    x0: np.ndarray


def spread(count: int, most: int = COLUMNS) -> np.ndarray:
    """Up to `most` places in 0 .. count - 1, evenly spaced, both ends among them."""
    return np.unique(np.rint(np.linspace(0, count - 1, min(most, count))).astype(int))


def shown(recipe: Recipe, params: Any, x_t: np.ndarray, times: np.ndarray) -> np.ndarray:
    """x_t (n, B, ...) at times (n,) for the eye, in [0, 1].

    It is divided by sqrt(alpha^2 + sigma^2), 1 for variance-preserving schedules, and clipped.
    """

    @jax.jit
    def scaled(params, x_t, t):
        schedule = recipe.schedule_of(params)
        scale = jnp.sqrt(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2)
        return recipe.scaling.decode(x_t / scale.reshape(-1, *(1,) * (x_t.ndim - 1)))

    return np.asarray(scaled(params, x_t, times))


def write_grid(recipe: Recipe, images: np.ndarray, path: Path) -> None:
    """A PNG of the first images (n, H, W, C) in [0, 1], of a conditional model with its classes.

    Few classes have a column each.
    """
    images = plots.to_uint8(images[:GRID_LIMIT])
    if not recipe.model.conditional:
        plots.grid(images, 10, path)
        return
    asked = len(recipe.sample.classes) or recipe.null
    columns = asked if 4 <= asked <= 12 else 10
    plots.labelled_grid(images, columns, class_names(recipe, np.arange(len(images))), path)


def write_preview(recipe: Recipe, images: np.ndarray, path: Path) -> None:
    """`write_grid` to `path`, and beside it the settings that shaped it, as JSON."""
    path.with_suffix(".json").unlink(missing_ok=True)
    write_grid(recipe, images, path)
    files.write_json(path.with_suffix(".json"), names.samples(recipe))


def has_preview(recipe: Recipe, path: Path) -> bool:
    """Whether the grid `path` is there and was drawn with the settings of now."""
    then = files.read_json(path.with_suffix(".json"))
    return path.exists() and names.as_text(then) == names.as_text(names.samples(recipe))


def class_names(recipe: Recipe, index: np.ndarray) -> list[str]:
    """The names of the classes of samples `index`."""
    return [recipe.spec.classes[k] for k in np.asarray(recipe.image_classes(index))]


def named(kind: str, index: np.ndarray, classes: list[str] | None) -> list[str]:
    """`image 3 (class 7)`, without the class where there is none."""
    if classes is None:
        return [f"{kind} {k}" for k in index]
    return [f"{kind} {k} (class {name})" for k, name in zip(index, classes, strict=True)]


def write_strip(
    recipe: Recipe,
    film: Film,
    names: list[str],
    title: str,
    path: Path,
    original: np.ndarray | None = None,
) -> None:
    """x_t and x0_hat of the first images at the chosen times, `original` (B, H, W, C) beside."""
    few, sampler = slice(STRIP_LIMIT), type(recipe.sampler).__name__
    plots.reverse_strip(
        film.x_t[film.chosen, few],
        film.x0[:, few],
        film.times[film.chosen],
        title=f"{title}: {sampler}, {len(film.times)} times",
        original=None if original is None else original[few],
        names=names[few],
        path=path,
    )


def write_animation(film: Film, path: Path) -> None:
    """x_t of all images side by side, going to the samples, which stay for a while."""
    x_t = film.x_t[spread(len(film.x_t), FRAMES)]
    frames = plots.to_uint8(np.concatenate([x_t, film.x0[-1:]]))
    columns = int(np.ceil(np.sqrt(frames.shape[1])))
    films.animation(films.mosaic(frames, columns), path, 3000 // len(frames))


def write_forward(recipe: Recipe, params: Any, images: np.ndarray, path: Path) -> None:
    """A strip of uint8 images (B, H, W, C), noised to times from 0 to 1."""
    times = np.linspace(0, 1, COLUMNS, dtype=np.float32)

    @jax.jit
    def noised(params, pixels):
        schedule, x0 = recipe.schedule_of(params), recipe.scaling.encode(pixels)
        eps = normal_like(recipe.noise_key(jnp.arange(len(pixels))), x0)
        x_t = jnp.stack([diffuse(schedule, x0, eps, t) for t in times])
        return x_t, schedule.logsnr(times)

    x_t, logsnr = jax.device_get(noised(params, images))
    plots.forward_strip(shown(recipe, params, x_t, times), times, logsnr, path)
