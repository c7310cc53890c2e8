"""The task of a classifier of noised examples, or of examples as they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.data.augments import AUGMENTS, Augment
from ddm_jax.data.dataset import Report, Spec
from ddm_jax.data.pipeline import prepare
from ddm_jax.diffusion.arrays import expand, fold_in, normal_like
from ddm_jax.diffusion.losses.base import Batch, Params, Terms
from ddm_jax.diffusion.losses.draws import Draws
from ddm_jax.diffusion.losses.time_samplers import TIME_SAMPLERS
from ddm_jax.diffusion.noise_conds import NOISE_CONDS, NoiseCond
from ddm_jax.diffusion.process import diffuse, marginal_scale
from ddm_jax.diffusion.schedules import SCHEDULES
from ddm_jax.diffusion.schedules.base import Schedule
from ddm_jax.models.classifier import CLASSIFIERS
from ddm_jax.models.codecs import CODECS
from ddm_jax.models.dropout import own_masks
from ddm_jax.options.measuring import AccuracyOptions
from ddm_jax.options.training import ClassifierOptions
from ddm_jax.tasks.base import AUTOENCODER, Build, Loan
from ddm_jax.training.base import Constants, View


@dataclass(frozen=True)
class Classifier:
    """Tell the class of x_t: the cross-entropy -log p(y | x_t), and how often the likeliest is y.

    With `noisy` False x_t is x_0, and the network is told of the least noise.
    """

    spec: Spec
    augment: Augment
    codec: Any
    net: Any
    schedule: Schedule
    noise_cond: NoiseCond
    time_sampler: Any
    draws: Draws
    noisy: bool
    evaluate: AccuracyOptions

    tables: ClassVar[Mapping[str, Mapping[str, type]]] = {
        "augment": AUGMENTS,
        "codec": CODECS,
        "model": CLASSIFIERS,
        "schedule": SCHEDULES,
        "noise_cond": NOISE_CONDS,
        "time_sampler": TIME_SAMPLERS,
    }
    parts: ClassVar[Mapping[str, type]] = {
        "classifier": ClassifierOptions,
        "evaluate": AccuracyOptions,
    }
    free: ClassVar[tuple[str, ...]] = ("evaluate.", "codec.latent.run")
    borrows: ClassVar[Mapping[str, Loan]] = {"autoencoder": AUTOENCODER}
    unit: ClassVar[str] = "nats"

    @classmethod
    def make(cls, build: Build, spec: Spec, batch: int, lent: Mapping[str, Any]) -> "Classifier":
        options = build("classifier")
        return cls(
            spec,
            build("augment"),
            build("codec", spec=spec, lent=lent),
            build("model", classes=len(spec.classes)),
            build("schedule"),
            build("noise_cond"),
            build("time_sampler"),
            Draws(batch, options.uniforms),
            options.noisy,
            build("evaluate"),
        )

    def init(self, key: Array) -> Params:
        x = jnp.zeros((1, *self.codec.shape))
        return Params(jax.jit(self.net.init)(key, x, jnp.zeros(1))["params"])

    def memory(self) -> Any:
        return self.time_sampler.init(self.schedule)

    def remember(self, memory: Any, t: Array | None, loss: Array) -> Any:
        return memory if t is None else self.time_sampler.update(memory, t, loss)

    def learn(self, columns: Mapping[str, np.ndarray]) -> str:
        return ""

    def columns(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {}

    def frozen(self, cache: Path, report: Report) -> dict[str, Any]:
        return {}

    def prepare(self, feed: Mapping[str, Array], constants: Constants, key: Array) -> Batch:
        columns = prepare(feed, constants.pool, self.augment)
        keys = fold_in(key, columns["place"])
        x0 = self.codec.encode(columns["x"], constants.borrowed, keys)
        return Batch(x0, columns["label"], columns["place"])

    def log_probs(self, params: Params, x_t: Array, t: Array, keys: Array | None = None) -> Array:
        """log p(y | x_t) of all classes (B, classes); x_t: (B, ...), t: () or (B,).

        The network is shown x_t / sqrt(alpha^2 + sigma^2). keys: (B,) of each example's dropout
        where it is trained.
        """
        shown, told = self._shown(x_t, t)
        given = {"params": params.net}, shown, told
        if keys is None or not self.net.dropout:
            return jax.nn.log_softmax(self.net.apply(*given))
        return jax.nn.log_softmax(self.net.apply(*given, True, rngs=own_masks(keys)))

    def seen(self, params: Params, x_t: Array, t: Array) -> tuple[Array, Array]:
        """(the vector (B, d) that the network's last layer reads, log p(y | x_t) (B, classes))."""
        shown, told = self._shown(x_t, t)
        vector, scores = self.net.apply({"params": params.net}, shown, told, method="both")
        return vector, jax.nn.log_softmax(scores)

    def _shown(self, x_t: Array, t: Array) -> tuple[Array, Array]:
        """What the network is shown (B, ...), and what it is told of the noise (B,)."""
        t = jnp.broadcast_to(t, x_t.shape[:1])
        size = marginal_scale(self.schedule, t)
        return x_t / expand(size, x_t), self.noise_cond(self.schedule, t)

    def log_prob(self, params: Params, x_t: Array, t: Array, labels: Array) -> Array:
        """log p(labels | x_t), (B,)."""
        return jnp.take_along_axis(self.log_probs(params, x_t, t), labels[:, None], 1)[:, 0]

    def noised(self, x0: Array, key: Array, t: Array) -> Array:
        """x_t with the noise of keys (B,), or x_0 where the classifier knows no noise."""
        if not self.noisy:
            return x0
        return diffuse(self.schedule, x0, normal_like(key, x0), t)

    def loss(
        self,
        params: Params,
        batch: Batch,
        key: Array,
        *,
        borrowed: Mapping[str, Params],
        view: View,
    ) -> Terms:
        of_time, rest = jax.random.split(key)
        keys = jax.vmap(jax.random.split)(fold_in(rest, batch.place))
        t = self.draws.times(
            self.schedule, self.time_sampler, view.memory, of_time, place=batch.place
        )
        t = t if self.noisy else jnp.zeros_like(t)
        x_t = self.noised(batch.x0, keys[:, 0], t)
        log_probs = self.log_probs(params, x_t, t, keys[:, 1])
        loss = -jnp.take_along_axis(log_probs, batch.cond[:, None], 1)[:, 0]
        right = (log_probs.argmax(-1) == batch.cond).astype(jnp.float32)
        weight = self.time_sampler.weight(t, view.memory)
        return Terms(loss, t if self.noisy else None, weight, {"accuracy": right})
