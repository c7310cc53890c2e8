"""Fill in what is missing of pictures: a part of them, their colours, or their detail."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.data.masks import MASKS
from ddm_jax.diffusion.editing.null_space import Grey, Lower, Masked, Operator, consistent
from ddm_jax.diffusion.editing.repaint import Repaint, pinned, repaint_times
from ddm_jax.diffusion.samplers.base import check_among
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.edits.base import Done, Edit, Inputs, Originals, Plan, Shown, decoding
from ddm_jax.tasks.edits.pictures import OfPictures, inputs_of, row_names
from ddm_jax.tasks.generator import Generator


@dataclass(frozen=True)
class Inpaint(OfPictures):
    """Pictures with a part that the run fills in, so that it suits what stays exactly as it is.

    method: "repaint" draws what stays anew at every time, and walks each `jump` steps `rounds`
    times, so that both parts come into harmony; "null_space" holds every estimate to what is known
    of the picture. mask: what to fill in, one of data.pictures.PARTS, a box `top,left,height,width`
    or a picture, white there; of a wave one of data.waves.STRETCHES, or `start,length`. known: what
    null_space knows, the picture outside the mask ("mask"), its brightness ("grey"), or its means
    over blocks of `factor` pixels a side ("low"). Lugmayr et al. 2022, arXiv:2201.09865; Wang et
    al. 2022, arXiv:2212.00490.
    """

    method: str = "repaint"
    mask: str = "centre"
    rounds: int = 5
    jump: int = 5
    given: str = "mask"
    factor: int = 2

    def __post_init__(self):
        super().__post_init__()
        check_among("method", self.method, ("repaint", "null_space"))
        check_among("given", self.given, ("mask", "grey", "low"))
        if min(self.rounds, self.jump) < 1:
            raise ValueError(
                f"rounds={self.rounds} and jump={self.jump} must be at least 1; rounds=1 walks "
                "the grid once"
            )
        if self.factor < 2:
            raise ValueError(f"factor={self.factor} must be at least 2 pixels a side")
        if self.method == "repaint" and self.given != "mask":
            raise ValueError(f"given={self.given} is of method=null_space; set that too")

    def check(self, generator: Generator) -> None:
        super().check(generator)
        spec = generator.spec
        if spec.kind not in MASKS:
            raise ValueError(
                f"inpaint needs data that have masks, of kind {' or '.join(MASKS)}: {spec.name} "
                f"holds {spec.kind}; take edit.name=sdedit"
            )
        if generator.codec.shape != spec.shape:
            raise ValueError("inpaint needs a codec whose x has a place for every pixel")
        *space, channels = spec.shape
        if self.given == "grey" and channels == 1:
            raise ValueError(f"given=grey adds colours, and pictures of {spec.name} have none")
        if self.given == "low" and any(side % self.factor for side in space):
            size = " x ".join(map(str, space))
            example = MASKS[spec.kind].size.format(size)
            raise ValueError(f"factor={self.factor} does not divide {example}")

    def parts(
        self, generator: Generator, times: np.ndarray, originals: Originals
    ) -> Mapping[str, tuple[Edit, Inputs]]:
        inputs = inputs_of(generator, times, originals)
        # Shown here rather than in the program, whose divisions may differ in the last bit.
        shown, known = generator.spec.show(originals.values), self.known(generator, originals)
        return {"": (self, inputs._replace(known=known, shown=shown))}

    def known(self, generator: Generator, originals: Originals) -> np.ndarray | None:
        """Which places (n, *space, 1) of pictures are known, None where these are not given."""
        if self.given != "mask":
            return None
        spec, count = generator.spec, len(originals.numbers)
        return MASKS[spec.kind].read(self.mask, spec, originals.sizes, count)

    def operator(self, generator: Generator, known: Array | np.ndarray | None) -> Operator:
        """What null_space is given, as a linear map of pictures or of their x."""
        if known is not None:
            return Masked(jnp.asarray(known))
        return Grey(generator.codec.shape[-1]) if self.given == "grey" else Lower(self.factor)

    def plan(self, generator: Generator, weights: Weights, inputs: Inputs) -> Plan:
        x = generator.start(weights, inputs.numbers)
        denoise, sampler = generator.guided(weights, inputs.asked), generator.sampler
        before = generator.codec.encode(inputs.values, weights.borrowed)
        decoded = decoding(generator, weights)

        def finish(x0: Array) -> Array:
            if inputs.known is None:
                return decoded(x0)
            return pinned(decoded(x0), inputs.shown, inputs.known)

        if self.method == "repaint":
            times = repaint_times(inputs.times, self.rounds, self.jump)
            return Plan(x, times, Repaint(sampler, before, inputs.known), denoise, finish)
        operator = self.operator(generator, inputs.known)
        held = consistent(denoise, operator, operator.measure(before))
        return Plan(x, inputs.times, sampler, held, finish)

    def show(self, generator: Generator, originals: Originals, done: Mapping[str, Done]) -> Shown:
        before, after = generator.spec.show(originals.values), done[""].values
        known, (low, high) = self.known(generator, originals), generator.spec.shown
        if known is None:
            operator = self.operator(generator, None)
            middle = np.asarray(operator.back(operator.measure(jnp.asarray(before))))
        else:
            middle = np.broadcast_to(np.where(known, low, high), before.shape)
        name = "given" if known is None else "mask"
        arrays = {"index": originals.numbers, "original": before, name: middle, "result": after}
        rows = np.stack([before, middle, after], 1)
        columns = ["before", name, "after"]
        names = row_names(generator, originals)
        return Shown("Filled in by the run", rows, names, columns, arrays)
