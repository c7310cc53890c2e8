"""Generation: from numbered noise to values of the data, as the settings of sampling say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.data.dataset import Spec
from ddm_jax.diffusion.arrays import fold_in
from ddm_jax.diffusion.clipping import CLIPS
from ddm_jax.diffusion.conditions import Raw
from ddm_jax.diffusion.guidance import Given, Guidance, Judge, at_the_same_noise
from ddm_jax.diffusion.process import Denoise
from ddm_jax.diffusion.samplers.base import Sampler
from ddm_jax.diffusion.samplers.loop import prior, sample, trajectory
from ddm_jax.diffusion.schedules.base import Schedule
from ddm_jax.models.diffusion_model import DiffusionModel
from ddm_jax.options import SampleOptions
from ddm_jax.tasks.base import Weights


@dataclass(frozen=True)
class Generator:
    """A diffusion model with all that shapes its samples; example k is a function of
    (weights, options.seed, k) alone. lent: the tasks of borrowed runs, by role.
    """

    spec: Spec
    codec: Any
    model: DiffusionModel
    sampler: Sampler
    timesteps: Any
    guidance: Guidance
    options: SampleOptions
    lent: Mapping[str, Any]

    @property
    def grid_steps(self) -> int:
        """Times of the sampling grid: `sample.steps`, or what `sample.evaluations` pays for."""
        budget, each = self.options.evaluations, self.sampler.evaluations or 1
        return (budget - 1) // each + 1 if budget else self.options.steps

    def schedule(self, weights: Weights) -> Schedule:
        return self.model.trained(weights.params)

    def times(self, weights: Weights) -> Array:
        """The grid that sampling runs on."""
        return self.timesteps.times(self.schedule(weights), self.grid_steps)

    def noise_key(self, index: Array) -> Array:
        """The keys (B,) of the noise that examples `index` start from."""
        return fold_in(fold_in(jax.random.key(self.options.seed), index), 0)

    def sampler_key(self, index: Array) -> Array:
        """The keys (B,) of the noise that the sampler adds to examples `index`."""
        return fold_in(fold_in(jax.random.key(self.options.seed), index), 1)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that can be asked for, by the model or by a classifier."""
        if self.model.condition.parts:
            return self.spec.classes
        return self.lent["judge"].spec.classes if "judge" in self.lent else ()

    def labels(self, index: Array | np.ndarray) -> Array:
        """The class (B,) that example k is asked to have: `sample.classes`, or all, in turn."""
        asked = jnp.array(self.options.classes or range(max(len(self.classes), 1)), jnp.int32)
        return asked[index % len(asked)]

    def cond(self, index: Array | np.ndarray) -> Raw:
        """The raw conditions of examples `index`."""
        return self.model.condition.raw({"label": self.labels(index)})

    def names(self, index: np.ndarray) -> list[str] | None:
        """What to write above examples `index`, None where nothing was asked for."""
        if not self.classes:
            return None
        return [self.classes[k] for k in np.asarray(self.labels(index))]

    def start(self, weights: Weights, index: Array) -> Array:
        """What examples `index` (B,) start from: x at the first time of the grid, (B, ...)."""
        x = jnp.zeros((len(index), *self.model.shape))
        t = self.times(weights)[0]
        return prior(self.schedule(weights), self.noise_key(index), x, t)

    def guided(self, weights: Weights, raw: Raw, labels: Array) -> Denoise:
        """The denoiser that sampling runs: conditioned, guided, estimates clipped.

        labels: the classes (B,) that a borrowed classifier is asked for.
        """
        model, schedule = self.model, self.schedule(weights)
        given = Given(schedule, model.denoiser(weights.params, model.condition.null(raw)))
        if "reference" in self.lent:
            other, params = self.lent["reference"].model, weights.borrowed["reference"]
            reference, theirs = other.denoiser(params, raw), other.trained(params)
            given = given._replace(reference=at_the_same_noise(reference, theirs, schedule))
        if "judge" in self.lent:
            judge, params = self.lent["judge"], weights.borrowed["judge"]

            def log_prob(x: Array, t: Array) -> Array:
                return judge.log_prob(params, x, t, labels)

            given = given._replace(judge=Judge(judge.schedule, log_prob))
        denoise = self.guidance.guide(model.denoiser(weights.params, raw), given)
        return CLIPS[self.options.clip](denoise, *self.codec.limits())

    def generate(self, weights: Weights, index: Array) -> Array:
        """Examples `index` (B,) as the data have them, float32 (B, ...)."""
        return self.generate_from(weights, index, self.start(weights, index), self.labels(index))

    def generate_from(self, weights: Weights, index: Array, x: Array, labels: Array) -> Array:
        """Examples of classes `labels` (B,) from starts x, with the sampler's noise of `index`."""
        raw = self.model.condition.raw({"label": labels})
        denoise, schedule = self.guided(weights, raw, labels), self.schedule(weights)
        times, key = self.times(weights), self.sampler_key(index)
        x0 = sample(denoise, schedule, self.sampler, times, x, key)
        return self.codec.decode(x0, weights.borrowed)

    def film(
        self,
        weights: Weights,
        index: Array,
        x: Array,
        labels: Array,
        *,
        times: Array | np.ndarray,
        chosen: Array | np.ndarray,
    ) -> tuple[Array, Array]:
        """(x_t (B, n, ...) at `times` (n,), x0_hat (B, m, ...) at times[chosen]).

        From starts x at times[0], as `generate_from` goes; x0_hat at the last time is its sample.
        """
        raw = self.model.condition.raw({"label": labels})
        denoise, schedule = self.guided(weights, raw, labels), self.schedule(weights)
        x_t = trajectory(denoise, schedule, self.sampler, times, x, self.sampler_key(index))
        few = x_t[chosen], jnp.asarray(times)[chosen]
        x0 = jax.lax.map(lambda pair: denoise(*pair).x0, few)
        return jnp.moveaxis(x_t, 0, 1), jnp.moveaxis(x0, 0, 1)
