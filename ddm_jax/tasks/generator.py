"""Generation: from numbered noise to values of the data, as the settings of sampling say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.data.dataset import Spec
from ddm_jax.diffusion.arrays import fold_in, normal_like
from ddm_jax.diffusion.clipping import CLIPS
from ddm_jax.diffusion.conditions import Raw
from ddm_jax.diffusion.guidance import Given, Guidance, Judge, at_the_same_noise
from ddm_jax.diffusion.process import Denoise
from ddm_jax.diffusion.samplers.base import Sampler
from ddm_jax.diffusion.samplers.loop import prior, sample, trajectory
from ddm_jax.diffusion.schedules.base import Schedule
from ddm_jax.models.diffusion_model import DiffusionModel
from ddm_jax.options.sampling import SampleOptions
from ddm_jax.tasks.base import Weights

ENDLESS = -jnp.inf, jnp.inf  # the range of an x that has none, which nothing clips


class Asked(NamedTuple):
    """What examples (B,) are to be: the raw condition, and the class that a classifier is asked
    for."""

    raw: Raw
    label: Array


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
    def judged(self) -> tuple[str, ...]:
        """The classes that a borrowed classifier tells."""
        return self.lent["judge"].spec.classes if "judge" in self.lent else ()

    @property
    def choices(self) -> tuple[str, ...]:
        """All that can be asked for, of the model or of a classifier, where that is a list."""
        return self.model.condition.choices or self.judged

    @property
    def requested(self) -> tuple[str, ...]:
        """What the settings ask for, `sample.ask` or `sample.classes`; () where they leave it."""
        asked = self.model.condition.each(self.options.ask)
        return asked or tuple(self.choices[k] for k in self.options.classes)

    @property
    def requests(self) -> tuple[str, ...]:
        """What is asked for, dealt to the examples in turn: what the settings say, or all that can
        be; () for nothing."""
        return self.requested or self.choices

    @property
    def needs_request(self) -> bool:
        """Whether it is told what to draw by files, and none is asked for."""
        return bool(self.model.condition.file) and not self.requests

    @property
    def how_to_ask(self) -> str:
        """What to tell a user where it needs a request."""
        file = self.model.condition.file
        return f"this run is told by files what to draw; name some, as in --prompt {file}"

    def told(self, asked: Asked, index: Array) -> Asked:
        """What examples `index` (B,) are asked to be as the model is told it: with its noise."""
        keys = fold_in(fold_in(jax.random.key(self.options.seed), index), 2)
        return asked._replace(raw=self.model.condition.noised(asked.raw, keys, training=False))

    def asked(self, index: Array | np.ndarray) -> Asked:
        """What examples `index` (B,) are to be."""
        requests, condition, count = self.requests, self.model.condition, len(index)
        if not requests:
            return Asked(condition.null(count), jnp.zeros(count, jnp.int32))
        labels = [self.judged.index(name) if self.judged else 0 for name in requests]
        table = condition.ask(requests), np.array(labels, np.int32)
        return Asked(*jax.tree.map(lambda a: jnp.asarray(a)[index % len(requests)], table))

    def names(self, index: np.ndarray) -> list[str] | None:
        """What to write above examples `index`, None where nothing was asked for."""
        requests = self.requests
        return [requests[k % len(requests)] for k in index] if requests else None

    def avoided(self, count: int) -> Raw:
        """What guidance leads away from: `sample.avoid`, or the condition that says nothing."""
        condition, text = self.model.condition, self.options.avoid
        if not text:
            return condition.null(count)
        return jax.tree.map(lambda a: jnp.repeat(jnp.asarray(a), count, 0), condition.ask([text]))

    def start(self, weights: Weights, index: Array) -> Array:
        """What examples `index` (B,) start from: x at the first time of the grid, (B, ...)."""
        x = jnp.zeros((len(index), *self.model.shape))
        t = self.times(weights)[0]
        return prior(self.schedule(weights), self.noise_key(index), x, t)

    def noise(self, index: Array) -> Array:
        """The standard normal noise (B, ...) that `start` scales, of examples `index` (B,)."""
        x = jnp.zeros((len(index), *self.model.shape))
        return normal_like(self.noise_key(index), x)

    def guided(self, weights: Weights, asked: Asked) -> Denoise:
        """The denoiser that sampling runs: conditioned, guided, estimates clipped."""
        model, schedule, raw = self.model, self.schedule(weights), asked.raw
        given = Given(schedule)
        if self.guidance.asks == "null":
            null = self.avoided(len(asked.label))
            both = model.both(weights.params, raw, null)
            given = Given(schedule, model.denoiser(weights.params, null), both=both)
        if "reference" in self.lent:
            other, params = self.lent["reference"].model, weights.borrowed["reference"]
            reference, theirs = other.denoiser(params, raw), other.trained(params)
            given = given._replace(reference=at_the_same_noise(reference, theirs, schedule))
        if "judge" in self.lent:
            judge, params = self.lent["judge"], weights.borrowed["judge"]

            def log_prob(x: Array, t: Array) -> Array:
                return judge.log_prob(params, x, t, asked.label)

            given = given._replace(judge=Judge(judge.schedule, log_prob))
        denoise = self.guidance.guide(model.denoiser(weights.params, raw), given)
        return CLIPS[self.options.clip](denoise, *self.codec.limits() or ENDLESS)

    def generate(self, weights: Weights, index: Array) -> Array:
        """Examples `index` (B,) as the data have them, float32 (B, ...)."""
        return self.generate_as(weights, index, self.asked(index))

    def generate_as(self, weights: Weights, index: Array, asked: Asked) -> Array:
        """Examples `index` (B,), whose noise they have, as `asked` (B,)."""
        x, key, asked = self.start(weights, index), self.sampler_key(index), self.told(asked, index)
        denoise, schedule = self.guided(weights, asked), self.schedule(weights)
        x0 = sample(denoise, schedule, self.sampler, self.times(weights), x=x, key=key)
        return self.codec.decode(x0, weights.borrowed)

    def film(
        self,
        weights: Weights,
        index: Array,
        asked: Asked,
        *,
        times: Array | np.ndarray,
        chosen: Array | np.ndarray,
    ) -> tuple[Array, Array]:
        """(x_t (B, n, ...) at `times` (n,), x0_hat (B, m, ...) at times[chosen]).

        As `generate_as` goes, whose grid the times are; x0_hat at the last time is its sample.
        """
        x, key, asked = self.start(weights, index), self.sampler_key(index), self.told(asked, index)
        denoise, schedule = self.guided(weights, asked), self.schedule(weights)
        x_t = trajectory(denoise, schedule, self.sampler, times, x=x, key=key)
        few = x_t[chosen], jnp.asarray(times)[chosen]
        x0 = jax.lax.map(lambda pair: denoise(*pair).x0, few)
        return jnp.moveaxis(x_t, 0, 1), jnp.moveaxis(x0, 0, 1)
