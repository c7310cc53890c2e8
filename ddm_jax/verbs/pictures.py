"""The pictures of a diffusion run: what the verbs draw of its images, in files."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax import files
from ddm_jax.diffusion.arrays import normal_like
from ddm_jax.diffusion.process import diffuse, marginal_scale
from ddm_jax.figures.artists import Artist, artist_of
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.generator import Generator
from ddm_jax.verbs import names
from ddm_jax.verbs.opened import Origins

COLUMNS = 8  # times in a strip
FRAMES = 40  # times in an animation


class Film(NamedTuple):
    """The way of B examples from noise, in the range `spec.shown`.

    times: (n,); x_t: (n, B, ...); chosen: (m,) places in times; x0: (m, B, ...), the estimates
    there, of which the last are the samples.
    """

    times: np.ndarray
    x_t: np.ndarray
    chosen: np.ndarray
    x0: np.ndarray


def artist(generator: Generator) -> Artist:
    """Who draws the data of the run."""
    return artist_of(generator.spec)


def spread(count: int, most: int = COLUMNS) -> np.ndarray:
    """Up to `most` places in 0 .. count - 1, evenly spaced, both ends among them."""
    return np.unique(np.rint(np.linspace(0, count - 1, min(most, count))).astype(int))


def shown(generator: Generator, weights: Weights, x_t: np.ndarray, times: np.ndarray) -> np.ndarray:
    """x_t (n, B, ...) at times (n,) for the eye, decoded.

    It is divided by sqrt(alpha^2 + sigma^2), 1 for variance-preserving schedules, and clipped.
    """

    @jax.jit
    def scaled(weights: Weights, x_t: Array, t: Array) -> Array:
        schedule = generator.schedule(weights)
        scale = marginal_scale(schedule, t)
        shaped = scale.reshape(-1, *(1,) * (x_t.ndim - 1))
        return generator.codec.decode(x_t / shaped, weights.borrowed)

    return np.asarray(scaled(weights, x_t, times))


def write_grid(generator: Generator, images: np.ndarray, path: Path) -> None:
    """A picture of the first examples (n, ...), with their classes where they have any.

    Few classes have a column each. The arrays hold the examples that it has no room for.
    """
    images = images[: artist(generator).room.grid]
    captions = generator.names(np.arange(len(images)))
    columns = len(generator.requests) if 4 <= len(generator.requests) <= 12 else 10
    artist(generator).grid(images, path, columns, captions)


def write_preview(generator: Generator, origins: Origins, images: np.ndarray, path: Path) -> None:
    """`write_grid` to `path`, and beside it the settings that shaped it, as JSON."""
    path.with_suffix(".json").unlink(missing_ok=True)
    write_grid(generator, images, path)
    files.write_json(path.with_suffix(".json"), names.samples(generator, origins))


def has_preview(generator: Generator, origins: Origins, path: Path) -> bool:
    """Whether the grid `path` is there and was drawn with the settings of now."""
    then = files.read_json(path.with_suffix(".json"))
    now = names.as_text(names.samples(generator, origins))
    return path.exists() and names.as_text(then) == now


def named(generator: Generator, kind: str, index: np.ndarray, told: list[str] | None) -> list[str]:
    """`image 3 (class 7)`, or what it was told below its number, where that is no class."""
    if told is None:
        return [f"{kind} {k}" for k in index]
    form = "{} {} (class {})" if generator.choices else "{} {}\n{}"
    return [form.format(kind, k, text) for k, text in zip(index, told, strict=True)]


def write_strip(
    generator: Generator,
    film: Film,
    names: list[str],
    title: str,
    *,
    path: Path,
) -> None:
    """x_t and x0_hat of the first examples at the chosen times."""
    drawn_by, sampler = artist(generator), type(generator.sampler).__name__
    few = slice(drawn_by.room.reverse)
    drawn_by.reverse(
        film.x_t[film.chosen, few],
        film.x0[:, few],
        path,
        film.times[film.chosen],
        title=f"{title}: {sampler}, {len(film.times)} times",
        names=names[few],
    )


def write_animation(generator: Generator, film: Film, path: Path) -> None:
    """x_t of all examples side by side, going to the samples, which stay for a while."""
    x_t = film.x_t[spread(len(film.x_t), FRAMES)]
    frames = np.concatenate([x_t, film.x0[-1:]])
    artist(generator).animation(frames, path, 3000 // len(frames))


def write_forward(generator: Generator, weights: Weights, values: np.ndarray, path: Path) -> None:
    """A strip of examples (B, ...) as the data have them, noised to times from 0 to 1."""
    times = np.linspace(0, 1, COLUMNS, dtype=np.float32)

    @jax.jit
    def noised(weights: Weights, values: Array) -> tuple[Array, Array]:
        schedule = generator.schedule(weights)
        x0 = generator.codec.encode(values, weights.borrowed)
        eps = normal_like(generator.noise_key(jnp.arange(len(values))), x0)
        x_t = jnp.stack([diffuse(schedule, x0, eps, t) for t in times])
        return x_t, schedule.logsnr(times)

    x_t, logsnr = jax.device_get(noised(weights, values))
    artist(generator).forward(shown(generator, weights, x_t, times), path, times, logsnr)
