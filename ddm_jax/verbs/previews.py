"""What training draws of its weights while it goes on, by its task."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.config.setup import Setup
from ddm_jax.data.dataset import Dataset
from ddm_jax.diffusion.process import marginal_scale
from ddm_jax.figures.artists import artist_of
from ddm_jax.tasks.autoencoder import Autoencoder
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.classifier import Classifier
from ddm_jax.tasks.generator import Asked, Generator
from ddm_jax.training.layout import Layout
from ddm_jax.training.processes import broadcast, together
from ddm_jax.verbs import pictures
from ddm_jax.verbs.opened import Origins
from ddm_jax.verbs.sampling import Say, draw_film, make_draw, write_film

EXAMPLES = 6  # rows of a picture of guesses
PAIRS = 10  # columns of a picture of reconstructions


@dataclass(frozen=True, eq=False)
class Preview:
    """Pictures of a run in its folder; this one draws none. Every process calls each method, and
    the first writes. What an earlier call wrote may stay.

    borrowed: the weights of other runs by role, on every device; origins: whence they are. params:
    the averaged parameters, on every device.
    """

    setup: Setup
    data: Dataset
    workdir: Path
    layout: Layout
    borrowed: Mapping[str, Any]
    origins: Origins

    def weights(self, params: Any) -> Weights:
        return Weights(params, self.borrowed)

    def begin(self, params: Any) -> None:
        """Before the first step at hand, from the parameters at it."""

    def draw(self, params: Any, step: int, say: Say) -> None:
        """Now and then, after `step`."""

    def end(self, params: Any, step: int, say: Say) -> None:
        """After the last step."""
        self.draw(params, step, say)


class Samples(Preview):
    """Of diffusion: `forward.png`, `samples/step_<step>.png`, and at the end the way from noise.

    A grid that is there, drawn with the settings of now, is not drawn again. A run that is told
    by files what to draw, where none is asked for, is told what its first examples are.
    """

    @property
    def generator(self) -> Generator:
        return self.setup.task.generator

    @functools.cached_property
    def _images(self) -> Callable[..., np.ndarray]:
        told = self._told(self.generator.options.count)
        return make_draw(self.generator, self.layout, told)

    def _told(self, count: int) -> Asked | None:
        """What the first examples are, where the run has to be told; None where it asks itself."""
        if not self.generator.needs_request:
            return None
        rows = self.data.rows(np.arange(count) % self.data.spec.count)
        return Asked(self.generator.model.condition.raw(rows), jnp.zeros(count, jnp.int32))

    def begin(self, params: Any) -> None:
        path, room = self.workdir / "forward.png", pictures.artist(self.generator).room
        few = np.asarray(self.data.columns["x"][: room.forward])
        with together(self.layout):
            if self.layout.first and not path.exists():
                pictures.write_forward(self.generator, self.weights(params), few, path)

    def draw(self, params: Any, step: int, say: Say) -> None:
        path, generator = self.workdir / "samples" / f"step_{step}.png", self.generator
        there = pictures.has_preview(generator, self.origins, path)
        if broadcast(self.layout, np.array(there)):
            return
        images = self._images(self.weights(params), generator.options.count, say)
        with together(self.layout):
            if self.layout.first:
                pictures.write_preview(generator, self.origins, images, path)
        say(f"wrote {path}")

    def end(self, params: Any, step: int, say: Say) -> None:
        self.draw(params, step, say)
        index = np.arange(self.generator.options.film, dtype=np.int32)
        if not len(index):
            return
        how, told = (self.generator, self.layout), self._told(len(index))
        film = draw_film(*how, self.weights(params), index, say=say, asked=told)
        with together(self.layout):
            if self.layout.first:
                path = self.workdir / "samples" / f"step_{step}_film"
                write_film(self.generator, film, path, say)


class Guesses(Preview):
    """Of a classifier: `guesses/step_<step>.png`, examples at several noise levels, each with the
    time, the likeliest class and its probability."""

    @functools.cached_property
    def _seen(self) -> Callable[..., tuple[Array, Array, Array]]:
        """(weights, values (B, ...)) -> decoded x_t (B, n, ...), likeliest classes and their
        probabilities (B, n) at `times`."""
        task: Classifier = self.setup.task

        @jax.jit
        def seen(weights: Weights, values: Array) -> tuple[Array, Array, Array]:
            x0 = task.codec.encode(values, weights.borrowed)
            keys = jax.random.split(jax.random.key(0), len(x0))

            def at(t: Array) -> tuple[Array, Array, Array]:
                x_t = task.noised(x0, keys, t)
                log_probs = task.log_probs(weights.params, x_t, t)
                shown = task.codec.decode(x_t / marginal_scale(task.schedule, t), weights.borrowed)
                return shown, log_probs.argmax(-1), jnp.exp(log_probs.max(-1))

            found = jax.lax.map(at, jnp.asarray(self.times))
            return jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), found)

        return seen

    @property
    def times(self) -> np.ndarray:
        """Where it is asked: at no noise alone where it knows none."""
        count = pictures.COLUMNS if self.setup.task.noisy else 1
        return np.linspace(0, 1, count, dtype=np.float32)

    def draw(self, params: Any, step: int, say: Say) -> None:
        task, times = self.setup.task, self.times
        path = self.workdir / "guesses" / f"step_{step}.png"
        if broadcast(self.layout, np.array(path.exists())):
            return
        few = np.asarray(self.data.columns["x"][:EXAMPLES])
        with together(self.layout):
            if self.layout.first:
                shown, best, p = jax.device_get(self._seen(self.weights(params), few))
                captions = [
                    f"t {times[k]:.2f}: {task.spec.classes[best[i, k]]} {p[i, k]:.0%}"
                    for i in range(len(few))
                    for k in range(len(times))
                ]
                artist = artist_of(task.spec)
                tiles = shown.reshape(-1, *shown.shape[2:])
                artist.grid(tiles, path, len(times), captions)
        say(f"wrote {path}")


class Reconstructions(Preview):
    """Of an autoencoder: `reconstructions/step_<step>.png`, examples above what they come back as
    from the means of their latents."""

    @functools.cached_property
    def _reconstructed(self) -> Callable[[Any, np.ndarray], Array]:
        task: Autoencoder = self.setup.task
        return jax.jit(task.reconstructed)

    def draw(self, params: Any, step: int, say: Say) -> None:
        task, path = self.setup.task, self.workdir / "reconstructions" / f"step_{step}.png"
        if broadcast(self.layout, np.array(path.exists())):
            return
        few = np.asarray(self.data.columns["x"][:PAIRS])
        with together(self.layout):
            if self.layout.first:
                back = np.asarray(self._reconstructed(params, few))
                rows, names = np.stack([task.spec.show(few), back]), ["original", "reconstruction"]
                columns = [str(k) for k in range(len(few))]
                artist_of(task.spec).strip(rows, path, names, columns)
        say(f"wrote {path}")


PREVIEWS: dict[str, type[Preview]] = {
    "diffusion": Samples,
    "classifier": Guesses,
    "autoencoder": Reconstructions,
}
