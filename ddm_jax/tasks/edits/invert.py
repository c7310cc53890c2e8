"""From pictures to the noise that they are sampled from, and back."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ddm_jax.diffusion.samplers.base import check_among
from ddm_jax.diffusion.samplers.one_step import DDIM, Heun
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.edits.base import Done, Edit, Inputs, Originals, Plan, Shown, decoding
from ddm_jax.tasks.edits.pictures import (
    OfPictures,
    decibels,
    inputs_of,
    noise_behind,
    row_names,
    unguided,
)
from ddm_jax.tasks.generator import Generator

BOTH_WAYS = {"ddim": DDIM, "heun": Heun}  # deterministic and without memory


@dataclass(frozen=True)
class Invert(OfPictures):
    """Pictures led backwards to their noise, and from there back, and to what is asked for.

    sampler: "ddim", or "heun", of second order, with two evaluations a step, whose errors grow with
    the steps in log-SNR, so that it wants a grid that is even there. The way to the noise
    and back is that of the model without guidance; to what is asked for, it is guided as the run
    is. Song et al. 2020, arXiv:2010.02502, section 4.3; Karras et al. 2022, arXiv:2206.00364.
    """

    sampler: str = "ddim"

    def __post_init__(self):
        super().__post_init__()
        check_among("sampler", self.sampler, [*BOTH_WAYS])

    def using(self, generator: Generator) -> Generator:
        return replace(generator, sampler=BOTH_WAYS[self.sampler]())

    def parts(
        self, generator: Generator, times: np.ndarray, originals: Originals
    ) -> Mapping[str, tuple[Edit, Inputs]]:
        inputs = inputs_of(generator, times, originals)
        both = {"reconstruction": (self, inputs._replace(asked=None))}
        return {**both, "as asked": (self, inputs)} if generator.requested else both

    def plan(self, generator: Generator, weights: Weights, inputs: Inputs) -> Plan:
        x = noise_behind(generator, weights, inputs, generator.sampler)
        if inputs.asked is None:
            denoise = unguided(generator, weights, inputs.own)
        else:
            denoise = generator.guided(weights, inputs.asked)
        return Plan(x, inputs.times, generator.sampler, denoise, decoding(generator, weights))

    def show(self, generator: Generator, originals: Originals, done: Mapping[str, Done]) -> Shown:
        before = generator.spec.show(originals.values)
        values, noise, seen = done["reconstruction"]
        quality = decibels(generator, values, before)
        line = f"reconstruction: PSNR {quality.mean():.2f} dB, mean of {len(quality):,}"
        arrays = {
            "index": originals.numbers,
            "original": before,
            "noise": noise,
            "reconstruction": values,
            "psnr": quality,
            **({"result": done["as asked"].values} if "as asked" in done else {}),
        }
        rows = np.stack([before, seen[:, 0], *(found.values for found in done.values())], 1)
        columns = ["before", "its noise", *done]
        title = "To the noise and back"
        names = row_names(generator, originals)
        return Shown(title, rows, names, columns, arrays, (line,))
