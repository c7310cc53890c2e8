"""A picture that comes with an example: a smaller one of it, its edges, a sketch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.data.dataset import Spec
from ddm_jax.data.images import BROKEN, fit, read
from ddm_jax.diffusion.arrays import expand, fold_in, normal_like
from ddm_jax.diffusion.conditions import Context, Raw
from ddm_jax.models.conditions.base import Plain


class Picture(NamedTuple):
    """pixels (B, h, w, c), from -1 to 1 over the range of the data; there (B,): 1, and 0 where
    there is no picture; level (B,): the standard deviation of the noise in the pixels, None where
    training adds none."""

    pixels: Any
    there: Any
    level: Any = None


@dataclass(frozen=True)
class Image(Plain):
    """A picture, enlarged to the size of x and joined to its channels, with a map of `there`.

    Raw: a Picture, whose null is zeros, so that a grey picture is another thing than none. factor:
    the picture is the example itself by means over blocks of factor x factor pixels, for
    super-resolution; 0 takes the column "image" of the data. Files that are asked for are cropped
    around their centre and resized to the size of the pictures.

    noise: pictures of training are sqrt(1 - s^2) z + s eps, with s uniform in [0, noise] and told
    in a map of its own, so that the model forgives pictures which another model drew; 0 for none.
    sampling_noise: s of the pictures that are drawn from, at most noise. Saharia et al. 2021,
    arXiv:2104.07636; Ho et al. 2021, arXiv:2106.15282.
    """

    width: int
    spec: Spec
    factor: int = 0
    noise: float = 0.0
    sampling_noise: float = 0.0

    file: ClassVar[str] = "small.png"
    parts = ("maps",)
    choices = ()

    def __post_init__(self):
        if self.factor < 0 or self.factor == 1:
            raise ValueError(
                f"factor={self.factor} must be at least 2, or 0 for the pictures of the data"
            )
        if not 0 <= self.noise <= 1:
            raise ValueError(
                f"noise={self.noise} is the largest standard deviation of the noise in pictures of "
                "training; it lies in [0, 1]"
            )
        if not 0 <= self.sampling_noise <= self.noise:
            raise ValueError(
                f"sampling_noise={self.sampling_noise} must lie in [0, noise={self.noise}], the "
                "noise that training shows"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """(h, w, c) of a picture."""
        if not self.factor:
            return self.spec.picture
        height, width, channels = self.spec.shape
        return height // self.factor, width // self.factor, channels

    def check(self) -> None:
        name, shape = self.spec.name, self.spec.shape
        if self.spec.kind != "image":
            raise ValueError(f"{name} are no images; take condition.name=nothing")
        if not (self.factor or self.spec.picture):
            raise ValueError(
                f"{name} has no pictures beside its examples; set condition.image.factor=2 to "
                "shrink the examples, or put pairs into the folders input and target"
            )
        large = f"{shape[0]} x {shape[1]} pixels of {name}"
        if self.factor and any(size % self.factor for size in shape[:-1]):
            raise ValueError(
                f"condition.image.factor={self.factor} does not divide the {large}; take one that "
                "does"
            )
        small = self.shape[:-1]
        if any(size % part for size, part in zip(shape[:-1], small, strict=True)):
            raise ValueError(
                f"pictures of {small[0]} x {small[1]} do not divide the {large}; set data.size, "
                "which both are brought to"
            )

    def raw(self, columns: Mapping[str, Any]) -> Raw:
        pixels = self._scaled(columns["x" if self.factor else "image"])
        pixels = shrink(pixels, self.factor) if self.factor else pixels
        return Picture(pixels, np.ones(len(pixels), np.float32), self._clean(len(pixels)))

    def ask(self, requests: Sequence[str]) -> Raw:
        height, width, channels = self.shape
        pixels = np.zeros((len(requests), height, width, channels), np.float32)
        for row, name in zip(pixels, requests, strict=True):
            try:
                image = read(Path(name).expanduser())
            except (*BROKEN, RuntimeError) as error:  # RuntimeError for the home of no user
                reason = " ".join(str(error).split()) or type(error).__name__
                raise ValueError(f"{name!r} is no picture that can be read: {reason}") from error
            row[:] = self._scaled(fit(image, (height, width), channels))
        return Picture(pixels, np.ones(len(pixels), np.float32), self._clean(len(pixels)))

    def noised(self, raw: Raw, keys: Array, training: bool) -> Raw:
        if not self.noise:
            return raw
        of_level, of_pixels = fold_in(keys, 0), fold_in(keys, 1)
        level = self.noise * jax.vmap(jax.random.uniform)(of_level)
        level = raw.there * (level if training else self.sampling_noise)
        pixels = jnp.asarray(raw.pixels)
        s = expand(level, pixels)
        noised = jnp.sqrt(1 - s**2) * pixels + s * normal_like(of_pixels, pixels)
        return Picture(noised, raw.there, level)

    @property
    def sampling(self) -> Mapping[str, Any]:
        return {"sampling_noise": self.sampling_noise} if self.noise else {}

    def null(self, count: int) -> Raw:
        return Picture(jnp.zeros((count, *self.shape)), jnp.zeros(count), self._clean(count))

    def names(self, columns: Mapping[str, np.ndarray]) -> list[str] | None:
        return None

    def init(self, key: Array) -> Any:
        return ()

    def embed(self, params: Any, raw: Raw) -> Context:
        maps = enlarge(jnp.asarray(raw.pixels), self.spec.shape[:-1])
        told = [a for a in (raw.there, raw.level) if a is not None]
        flat = [jnp.broadcast_to(expand(a, maps), (*maps.shape[:-1], 1)) for a in told]
        return Context(maps=jnp.concatenate([maps, *flat], -1))

    def _clean(self, count: int) -> np.ndarray | None:
        """The level of pictures without noise, where one is told."""
        return np.zeros(count, np.float32) if self.noise else None

    def _scaled(self, values: Any) -> Any:
        """Values of the data, from -1 to 1."""
        low, high = self.spec.low, self.spec.high
        return 2 * (values.astype(np.float32) - low) / (high - low) - 1


def shrink(x: Any, factor: int) -> Any:
    """The means (B, h, w, C) of x (B, h factor, w factor, C) over blocks of factor x factor."""
    count, height, width, channels = x.shape
    small = height // factor, width // factor
    return x.reshape(count, small[0], factor, small[1], factor, channels).mean((2, 4))


def enlarge(picture: Array, space: tuple[int, ...]) -> Array:
    """A picture (B, h, w, C) at the size `space`, whole multiples of its own: every pixel repeated.

    Nothing is lost, and the convolutions that follow may smooth it as they like.
    """
    for axis, size in enumerate(space, 1):
        picture = jnp.repeat(picture, size // picture.shape[axis], axis)
    return picture
