"""From the picture that a model is told to what it draws from it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.edits.base import Done, Inputs, Originals, Plan, Shown, decoding
from ddm_jax.tasks.edits.pictures import OfPictures, inputs_of, row_names
from ddm_jax.tasks.generator import Generator


@dataclass(frozen=True)
class Upscale(OfPictures):
    """Pictures as a model of condition `image` draws them: larger, or from edges or sketches.

    It samples from noise under the picture: your own in `image`, or that of an example, whose
    original then stands beside. Saharia et al. 2021, arXiv:2104.07636.
    """

    def check(self, generator: Generator) -> None:
        super().check(generator)
        if "maps" not in generator.model.condition.parts:
            raise ValueError(
                "upscale needs a model that is told a picture, and this one is not; train one with "
                "condition.name=image, as in configs/shapes_upscale.py"
            )

    def plan(self, generator: Generator, weights: Weights, inputs: Inputs) -> Plan:
        x, denoise = (
            generator.start(weights, inputs.numbers),
            generator.guided(weights, inputs.asked),
        )
        return Plan(x, inputs.times, generator.sampler, denoise, decoding(generator, weights))

    def show(self, generator: Generator, originals: Originals, done: Mapping[str, Done]) -> Shown:
        after, (low, high) = done[""].values, generator.spec.shown
        asked = inputs_of(generator, np.zeros(1), originals).asked
        maps = np.asarray(generator.model.condition.embed((), asked.raw).maps)
        maps = maps[..., : asked.raw.pixels.shape[-1]]
        if maps.shape != after.shape:  # grey beside colours, or colours beside grey
            maps = np.broadcast_to(maps.mean(-1, keepdims=True), after.shape)
        told = low + (high - low) * (maps + 1) / 2
        arrays = {"index": originals.numbers, "picture": told, "result": after}
        columns, rows = ["picture", "after"], [told, after]
        if not (self.image or generator.requested):
            original = generator.spec.show(originals.values)
            columns, rows = [*columns, "original"], [*rows, original]
            arrays["original"] = original
        names = row_names(generator, originals)
        return Shown("Drawn from a picture", np.stack(rows, 1), names, columns, arrays)
