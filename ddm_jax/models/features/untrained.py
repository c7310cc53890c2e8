"""Features that no training has shaped: the values themselves, and a random network."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ddm_jax.data.dataset import Report, Spec
from ddm_jax.models.features.base import OwnFeatures, Seen, unit
from ddm_jax.training.weights import digest_of


@dataclass(frozen=True)
class Pixels(OwnFeatures):
    """The values of an example, one after the other, in [0, 1].

    Exact and free of any choice, and blind to what a picture shows: one moved by a pixel is far
    from itself. For toy data and data that are points.
    """

    spec: Spec

    title: ClassVar[str] = "pixels"

    def check(self, spec: Spec) -> None:
        pass

    def load(self, cache: Path, report: Report) -> tuple[Any, str]:
        return (), ""

    def see(self, params: Any, x: Array, lent: Mapping[str, Any]) -> Seen:
        return Seen(unit(self.spec, x).reshape(len(x), -1))


@dataclass(frozen=True)
class Random(OwnFeatures):
    """Means over all positions of each layer of a convolutional network with random weights.

    h_k = max(0, W_k * h_{k-1}), with kernels of 3, stride 2 and 2^k `channels`; the weights are
    normal with variance 2 / fan-in, He et al. 2015, arXiv:1502.01852, and a function of the seed.
    They see textures and edges wherever they stand, and not what a picture shows; they favour no
    kind of picture, need no file, and serve data that are unlike photographs. Naeem et al. 2020,
    arXiv:2002.09797, section 4, measure with networks without training. Distances are comparable
    under equal settings alone.
    """

    spec: Spec
    channels: int = 32
    depth: int = 3
    seed: int = 0

    title: ClassVar[str] = "random convolutions"

    def __post_init__(self):
        if min(self.channels, self.depth) < 1 or self.seed < 0:
            raise ValueError("channels and depth must be at least 1, and seed at least 0")

    def check(self, spec: Spec) -> None:
        if len(spec.shape) < 2:
            raise ValueError(
                f"{spec.name} has no positions that a convolution could go over; take "
                "features.name=pixels"
            )

    def load(self, cache: Path, report: Report) -> tuple[Any, str]:
        rng = np.random.default_rng(self.seed)
        taps, fan, kernels = (3,) * (len(self.spec.shape) - 1), self.spec.shape[-1], []
        for layer in range(self.depth):
            width = self.channels * 2**layer
            deviation = np.sqrt(2 / (fan * np.prod(taps)))
            kernels.append(np.float32(deviation * rng.normal(size=(*taps, fan, width))))
            fan = width
        return kernels, digest_of(kernels)

    def see(self, params: Any, x: Array, lent: Mapping[str, Any]) -> Seen:
        h, means = 2 * unit(self.spec, x) - 1, []
        space = "DHW"[3 - (x.ndim - 2) :]
        axes = f"N{space}C", f"{space}IO", f"N{space}C"
        for kernel in params:
            strides = (2,) * len(space)
            h = jax.nn.relu(
                lax.conv_general_dilated(h, kernel, strides, "SAME", dimension_numbers=axes)
            )
            means.append(h.mean(tuple(range(1, h.ndim - 1))))
        return Seen(jnp.concatenate(means, -1))
