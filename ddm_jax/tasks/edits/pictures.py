"""What edits of pictures share: which they take, under which condition, and what is shown."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.diffusion.editing.closeness import psnr
from ddm_jax.diffusion.editing.inversion import unsample
from ddm_jax.diffusion.guidance import NoGuidance
from ddm_jax.diffusion.process import Denoise
from ddm_jax.diffusion.samplers.base import Sampler
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.edits.base import Done, Edit, Inputs, Originals, Plan, Shown, Wanted
from ddm_jax.tasks.generator import Asked, Generator


@dataclass(frozen=True)
class OfPictures(ABC):
    """An edit of pictures, with a result each. A row of its kind adds a plan.

    image: the user's own, a file, several with commas between them, or a folder; "" for the run's
    training examples `first` to `first + count - 1`.
    """

    shared: ClassVar[tuple[str, ...]] = ()
    moves: ClassVar[bool] = False

    image: str = ""
    first: int = 0
    count: int = 8

    def __post_init__(self):
        if self.count < 1 or self.first < 0:
            raise ValueError("count must be at least 1 and first at least 0")

    def check(self, generator: Generator) -> None:
        if not self.image:
            check_examples(generator, "first", (self.first,))

    def using(self, generator: Generator) -> Generator:
        return generator

    def wanted(self) -> Wanted:
        return Wanted(self.image, range(self.first, self.first + self.count))

    def parts(
        self, generator: Generator, times: np.ndarray, originals: Originals
    ) -> Mapping[str, tuple[Edit, Inputs]]:
        return {"": (self, inputs_of(generator, times, originals))}

    @abstractmethod
    def plan(self, generator: Generator, weights: Weights, inputs: Inputs) -> Plan: ...

    def show(self, generator: Generator, originals: Originals, done: Mapping[str, Done]) -> Shown:
        before = generator.spec.show(originals.values)
        after = {name or "after": result.values for name, result in done.items()}
        rows = np.stack([before, *after.values()], 1)
        arrays = {"index": originals.numbers, "original": before, **after}
        return Shown(
            "Before and after", rows, row_names(generator, originals), ["before", *after], arrays
        )


def row_names(generator: Generator, originals: Originals) -> list[str]:
    """What to write beside pictures, and below it what is asked for."""
    asked = generator.names(originals.numbers) if generator.requested else None
    if asked is None:
        return originals.names
    return [f"{name}\nas {text}" for name, text in zip(originals.names, asked, strict=True)]


def check_examples(generator: Generator, setting: str, index: Sequence[int]) -> None:
    """ValueError where `index` holds what is no example of the data."""
    spec = generator.spec
    beyond = [k for k in index if k >= spec.count]
    if beyond:
        raise ValueError(
            f"{setting} holds {beyond[0]}, which is no example; {spec.name} has 0 to "
            f"{spec.count - 1}"
        )


def inputs_of(generator: Generator, times: np.ndarray, originals: Originals) -> Inputs:
    """Inputs with a result for each picture: as the settings ask, else as the picture is."""
    index, own = originals.numbers, originals.own
    asked = generator.asked(index) if generator.requested else own
    return Inputs(times, index, asked, originals.values, own)


def unguided(generator: Generator, weights: Weights, asked: Asked) -> Denoise:
    """The run's denoiser without guidance."""
    return replace(generator, guidance=NoGuidance()).guided(weights, asked)


def noise_behind(generator: Generator, weights: Weights, inputs: Inputs, sampler: Sampler) -> Array:
    """The x (B, ...) at the first time from which `sampler` leads to the pictures of the inputs.

    As what they are, and without guidance, whose steps cannot be walked back: they lead away from
    what the network learned. Mokady et al. 2022, arXiv:2211.09794, section 3.1.
    """
    denoise, schedule = unguided(generator, weights, inputs.own), generator.schedule(weights)
    x0 = generator.codec.encode(inputs.values, weights.borrowed)
    key = generator.sampler_key(jnp.arange(len(x0)))
    return unsample(denoise, schedule, sampler, inputs.times, x0=x0, key=key)


def decibels(generator: Generator, values: np.ndarray, original: np.ndarray) -> np.ndarray:
    """The PSNR (B,) of values against the original, both in the range `Spec.shown`."""
    low, high = generator.spec.shown
    return np.asarray(psnr(values / (high - low), original / (high - low)))
