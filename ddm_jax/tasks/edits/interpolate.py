"""Walk between the noises of two images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ddm_jax.diffusion.editing.walks import slerp
from ddm_jax.diffusion.samplers.base import check_among
from ddm_jax.diffusion.samplers.one_step import DDIM
from ddm_jax.errors import UserError
from ddm_jax.figures import films
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.edits.base import (
    Done,
    Edit,
    Film,
    Inputs,
    Originals,
    Plan,
    Shown,
    Wanted,
    decoding,
)
from ddm_jax.tasks.edits.pictures import check_examples, noise_behind, unguided
from ddm_jax.tasks.generator import Asked, Generator


@dataclass(frozen=True)
class Interpolate:
    """Images along the great circle between the noises of two.

    pair: which two. between: "noises", those that the run's own samples start from, or "examples",
    those behind two training examples. image: two pictures of the user's instead. frames: how many
    images. All have the condition, and the sampler's noise if it draws any, of the first of the
    pair: so the first frame is the run's own sample, or the picture as well as it can be inverted,
    and the last is where sampler and condition let it be. Between pictures there is guidance only
    to what is asked for. Song et al. 2020, arXiv:2010.02502, section 5.3.
    """

    shared: ClassVar[tuple[str, ...]] = ("values", "own")
    moves: ClassVar[bool] = False

    pair: tuple[int, ...] = (0, 1)
    frames: int = 24
    between: str = "noises"
    image: str = ""

    def __post_init__(self):
        whole = all(type(k) is int and 0 <= k < 2**31 for k in self.pair)
        if len(self.pair) != 2 or not whole:
            raise ValueError(f"pair takes two indices of images, as in 0,1, not {self.pair}")
        if self.frames < 2:
            raise ValueError(f"frames={self.frames} must be at least 2, the two ends")
        check_among("between", self.between, ("noises", "examples"))

    def check(self, generator: Generator) -> None:
        if self.between == "examples" and not self.image:
            check_examples(generator, "pair", self.pair)

    def using(self, generator: Generator) -> Generator:
        return generator

    def wanted(self) -> Wanted:
        return Wanted(self.image, self.pair if self.between == "examples" else ())

    def parts(
        self, generator: Generator, times: np.ndarray, originals: Originals
    ) -> Mapping[str, tuple[Edit, Inputs]]:
        share = np.linspace(0, 1, self.frames, dtype=np.float32)
        if not originals.names:
            index = np.full(self.frames, self.pair[0], np.int32)
            return {"": (self, Inputs(times, index, generator.asked(index), share=share))}
        if len(originals.numbers) != 2:
            raise UserError(
                f"interpolate.image names {len(originals.numbers)} pictures; it walks between two"
            )
        index = np.full(self.frames, originals.numbers[0], np.int32)
        asked = generator.asked(index) if generator.requested else None
        inputs = Inputs(times, index, asked, originals.values, originals.own, share=share)
        return {"": (self, inputs)}

    def plan(self, generator: Generator, weights: Weights, inputs: Inputs) -> Plan:
        share, asked = jnp.asarray(inputs.share), inputs.asked
        if inputs.values is None:
            ends = generator.start(weights, jnp.array(self.pair))
        else:
            ends = noise_behind(generator, weights, inputs, DDIM())
        start, end = (jnp.broadcast_to(e, (len(share), *e.shape)) for e in ends)
        if asked is None:
            first: Asked = jax.tree.map(lambda a: jnp.repeat(a[:1], len(share), 0), inputs.own)
            denoise = unguided(generator, weights, first)
        else:
            denoise = generator.guided(weights, asked)
        return Plan(
            slerp(start, end, share),
            inputs.times,
            generator.sampler,
            denoise,
            decoding(generator, weights),
        )

    def show(self, generator: Generator, originals: Originals, done: Mapping[str, Done]) -> Shown:
        images = done[""].values
        share = np.linspace(0, 1, self.frames, dtype=np.float32)
        few = np.unique(np.rint(np.linspace(0, len(images) - 1, 10)).astype(int))
        names = [name.replace("\n", ", ") for name in originals.names] or [
            f"image {k}" for k in self.pair
        ]
        title = f"From the noise of {names[0]} to that of {names[1]}, by the share of the way"
        if not originals.names and (asked := generator.names(np.array(self.pair[:1]))):
            title += f"; {'class ' if generator.choices else ''}{asked[0]}"
        lines = ()
        if generator.sampler.convergence is None:
            lines = ("the sampler draws noise, the same in all frames",)
        arrays = {"images": images, "weight": share}
        if originals.names:
            arrays["original"] = generator.spec.show(originals.values)
        else:
            arrays["pair"] = np.array(self.pair, np.int32)
        film = Film(films.there_and_back(images)[:, None], 80, 80)
        columns = [f"{share[k]:.2f}" for k in few]
        return Shown(title, images[None, few], [""], columns, arrays, lines, {"": film})
