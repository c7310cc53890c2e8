"""Noise pictures part of the way, and sample from there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from ddm_jax.diffusion.arrays import normal_like
from ddm_jax.diffusion.editing.levels import strength_start, strength_times
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.edits.base import Done, Edit, Film, Inputs, Originals, Plan, Shown, decoding
from ddm_jax.tasks.edits.pictures import OfPictures, decibels, inputs_of, row_names
from ddm_jax.tasks.generator import Generator


@dataclass(frozen=True)
class SDEdit(OfPictures):
    """Pictures noised to a share of the way and sampled from there, under what is asked for.

    strength: of the first time of the grid, above 0 and up to 1, several for a result each. What
    the noise leaves of a picture, the result keeps: of strength 1 it is a sample of the run. The
    noise is that of the run's own samples. Meng et al. 2021, arXiv:2108.01073, algorithm 1.
    """

    moves: ClassVar[bool] = True

    strength: tuple[float, ...] = (0.6,)

    def __post_init__(self):
        super().__post_init__()
        wrong = [s for s in self.strength if type(s) not in (int, float) or not 0 < s <= 1]
        if wrong or not self.strength:
            raise ValueError(
                f"strength takes numbers above 0 and up to 1, as in 0.3,0.6, not {self.strength}"
            )
        if len(set(self.strength)) < len(self.strength):
            raise ValueError(f"strength holds a number twice: {self.strength}")

    def parts(
        self, generator: Generator, times: np.ndarray, originals: Originals
    ) -> Mapping[str, tuple[Edit, Inputs]]:
        inputs = inputs_of(generator, times, originals)
        return {f"{s:g}": (replace(self, strength=(float(s),)), inputs) for s in self.strength}

    def plan(self, generator: Generator, weights: Weights, inputs: Inputs) -> Plan:
        (strength,) = self.strength
        times = strength_times(inputs.times, strength)
        x0 = generator.codec.encode(inputs.values, weights.borrowed)
        eps = normal_like(generator.noise_key(jnp.asarray(inputs.numbers)), x0)
        x = strength_start(generator.schedule(weights), x0, eps, t=times[0], strength=strength)
        denoise = generator.guided(weights, inputs.asked)
        return Plan(x, times, generator.sampler, denoise, decoding(generator, weights))

    def show(self, generator: Generator, originals: Originals, done: Mapping[str, Done]) -> Shown:
        before = generator.spec.show(originals.values)
        result = np.stack([found.values for found in done.values()])
        quality = np.stack([decibels(generator, values, before) for values in result])
        lines = [
            f"strength {name}: PSNR {one.mean():.2f} dB, mean of {len(one):,}"
            for name, one in zip(done, quality, strict=True)
        ]
        films = {}
        for name, (values, _, path) in done.items():
            frames = np.concatenate([np.moveaxis(path, 1, 0), values[None]])
            films[f"strength_{name}"] = Film(frames, 3000 // len(frames))
        arrays = {
            "index": originals.numbers,
            "original": before,
            "strength": np.array(self.strength),
            "noised": np.stack([found.x for found in done.values()]),
            "result": result,
            "psnr": quality,
        }
        rows = np.stack([before, *result], 1)
        columns = ["before", *(f"strength {name}" for name in done)]
        title = "Noised part of the way and back"
        names = row_names(generator, originals)
        return Shown(title, rows, names, columns, arrays, tuple(lines), films)
