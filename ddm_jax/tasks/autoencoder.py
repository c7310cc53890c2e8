"""The task of an autoencoder: examples to few latents and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.data.augments import AUGMENTS, Augment
from ddm_jax.data.dataset import Latents, Report, Spec
from ddm_jax.data.pipeline import prepare
from ddm_jax.diffusion.arrays import fold_in
from ddm_jax.diffusion.losses.base import Batch, Params, Terms
from ddm_jax.diffusion.losses.distances import DISTANCES
from ddm_jax.models.adversaries import ADVERSARIES, Adversary
from ddm_jax.models.autoencoder import AUTOENCODERS
from ddm_jax.models.bottlenecks import BOTTLENECKS, Bottleneck
from ddm_jax.models.codecs import Pixels
from ddm_jax.models.perceptions import PERCEPTIONS, Perception
from ddm_jax.options.measuring import ReconstructionOptions
from ddm_jax.tasks.base import Build, Loan
from ddm_jax.tasks.similarity import psnr
from ddm_jax.training.base import Constants, View

PERCEIVED = "perception"  # the role of the weights that perception sees with
MEASURED = 4096  # examples that statistics of latents are taken of
AT_ONCE = 256  # of them


@dataclass(frozen=True)
class Autoencoder:
    """Reconstruct x: the mean distance of an example's elements, and what bottleneck, perception
    and adversary add.

    x lies in [-1, 1]. Rombach et al. 2022, arXiv:2112.10752, appendix G.
    """

    spec: Spec
    augment: Augment
    codec: Pixels
    net: Any
    bottleneck: Bottleneck
    distance: Any
    perception: Perception
    adversary: Adversary
    evaluate: ReconstructionOptions

    tables: ClassVar[Mapping[str, Mapping[str, type]]] = {
        "augment": AUGMENTS,
        "model": AUTOENCODERS,
        "bottleneck": BOTTLENECKS,
        "distance": DISTANCES,
        "perception": PERCEPTIONS,
        "adversary": ADVERSARIES,
    }
    parts: ClassVar[Mapping[str, type]] = {"evaluate": ReconstructionOptions}
    free: ClassVar[tuple[str, ...]] = ("evaluate.",)
    borrows: ClassVar[Mapping[str, Loan]] = {}
    unit: ClassVar[str] = "mean over elements"

    @classmethod
    def make(cls, build: Build, spec: Spec, batch: int, lent: Mapping[str, Any]) -> "Autoencoder":
        bottleneck = build("bottleneck")
        return cls(
            spec,
            build("augment"),
            Pixels(spec),
            build("model", out_channels=spec.shape[-1], factor=bottleneck.factor),
            bottleneck,
            build("distance"),
            build("perception"),
            build("adversary"),
            build("evaluate"),
        )

    def init(self, key: Array) -> Params:
        of_net, of_bottleneck = jax.random.split(key)
        net = jax.jit(self.net.init)(of_net, jnp.zeros((1, *self.spec.shape)))["params"]
        return Params(
            net,
            objective=self.bottleneck.init(of_bottleneck, self.net.latent),
            adversary=self.adversary.init(jax.random.fold_in(key, 1), self.spec.shape),
        )

    def frozen(self, cache: Path, report: Report) -> dict[str, Any]:
        return {PERCEIVED: self.perception.load(self.spec, cache, report)}

    def memory(self) -> Any:
        return ()

    def remember(self, memory: Any, t: Array | None, loss: Array) -> Any:
        return memory

    def learn(self, columns: Mapping[str, np.ndarray]) -> str:
        return ""

    def columns(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {}

    def prepare(self, feed: Mapping[str, Array], constants: Constants, key: Array) -> Batch:
        columns = prepare(feed, constants.pool, self.augment)
        return Batch(self.codec.encode(columns["x"], {}), None, columns["place"])

    def loss(
        self,
        params: Params,
        batch: Batch,
        key: Array,
        *,
        borrowed: Mapping[str, Params],
        view: View,
    ) -> Terms:
        keys, size = fold_in(key, batch.place), int(np.prod(self.spec.shape))
        h = self._apply(params, "encode", batch.x0)
        z, penalty, parts = self.bottleneck.through(params.objective, h, keys, size)
        back = self._apply(params, "decode", z)
        away = self.distance(back - batch.x0).mean(tuple(range(1, back.ndim)))
        seen = self.perception.apart(self.spec, borrowed.get(PERCEIVED), batch.x0, back)
        perceived = {} if seen is None else {"perception": seen}
        judged = self.adversary.judge(params.adversary, batch.x0, back, view.step)
        total = sum(perceived.values(), away + penalty + judged.penalty)
        parts = {"reconstruction": away, **parts, **perceived, **judged.parts}
        parts["psnr"] = psnr(back, batch.x0, 2.0)
        return Terms(total, None, jnp.ones_like(away), parts)

    def moments(self, params: Params, values: Array | np.ndarray) -> tuple[Array, Array]:
        """(mean, variance) of the latents (B, ...) of values as the data store them."""
        x = self.codec.encode(values, {})
        return self.bottleneck.moments(self._apply(params, "encode", x))

    def decoded(self, params: Params, z: Array) -> Array:
        """Values in the range `Spec.shown` of latents z (B, ...)."""
        shown = self.bottleneck.settled(params.objective, z)
        return self.codec.decode(self._apply(params, "decode", shown), {})

    def reconstructed(self, params: Params, values: Array | np.ndarray) -> Array:
        """Values as the data store them, to the means of their latents and back."""
        return self.decoded(params, self.moments(params, values)[0])

    def measured(self, params: Params, x: np.ndarray, sha256: str) -> Latents:
        """Statistics of the latents of up to 4,096 of the examples x (N, ...), always the same.

        Variances are of draws: that of the means, and the mean of the variances. sha256: of the
        weights.
        """

        @jax.jit
        def of_examples(params: Params, values: Array) -> tuple[Array, Array]:
            """Mean and variance (B, C) over the positions and draws of each example."""
            mean, variance = self.moments(params, values)
            space = tuple(range(1, mean.ndim - 1))
            return mean.mean(space), mean.var(space) + variance.mean(space)

        index = np.sort(np.random.default_rng(0).permutation(len(x))[:MEASURED])
        filled = np.resize(index, -(-len(index) // AT_ONCE) * AT_ONCE)
        found = [of_examples(params, np.asarray(x[b])) for b in filled.reshape(-1, AT_ONCE)]
        rows = (np.concatenate(part)[: len(index)] for part in zip(*found, strict=True))
        means, variances = (part.astype(np.float64) for part in rows)
        std = np.sqrt(np.maximum(variances.mean(0) + means.var(0), 1e-12))
        shape = self.net.shape(self.spec.shape[:-1])
        return Latents(shape, tuple(means.mean(0).tolist()), tuple(std.tolist()), sha256)

    def _apply(self, params: Params, half: str, x: Array) -> Array:
        """The encoder or the decoder."""
        return self.net.apply({"params": params.net}, x, method=half)
