"""ConfigDict -> Recipe: the pure functions of a run, assembled once at the door."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from ddm_jax.data.dataset import DataOptions, Spec
from ddm_jax.data.pipeline import Feed, Scaling, prepare
from ddm_jax.diffusion.arrays import fold_in
from ddm_jax.diffusion.guidance import CLIPS, guide
from ddm_jax.diffusion.losses.base import Batch, LossFn, Params
from ddm_jax.diffusion.losses.draws import diffusion_loss
from ddm_jax.diffusion.losses.noised import Problem, Values
from ddm_jax.diffusion.predictions import denoiser
from ddm_jax.diffusion.process import Denoise
from ddm_jax.diffusion.samplers.loop import prior, sample, trajectory
from ddm_jax.options import EditOptions, EvaluateOptions, LossOptions, SampleOptions, TrainOptions
from ddm_jax.training.optim import Ema, Optim
from ddm_jax.training.step import TrainState, init_state, make_train_step


@dataclass(frozen=True)
class Recipe:
    """Everything a verb needs; methods are pure functions of arrays."""

    spec: Spec
    scaling: Scaling
    seed: int
    data: DataOptions
    model: Any
    schedule: Any
    prediction: Any
    noise_cond: Any
    time_sampler: Any
    objective: Any
    weighting: Any
    distance: Any
    sampler: Any
    timesteps: Any
    loss: LossOptions
    optim: Optim
    ema: Ema
    train: TrainOptions
    sample: SampleOptions
    evaluate: EvaluateOptions
    edit: EditOptions
    warnings: tuple[str, ...] = ()  # what is dangerous about it

    def net(self, params, x: Array, noise_cond: Array, cond: Array | None, keys=None) -> Array:
        """The network. With dropout keys (B,) it trains, each example with a mask of its own."""
        if keys is None or not self.model.dropout:
            return self.model.apply({"params": params}, x, noise_cond, cond, keys is not None)

        def one(x, noise_cond, cond, key):
            few = jax.tree.map(lambda a: a[None], (x, noise_cond, cond))
            return self.model.apply({"params": params}, *few, True, rngs={"dropout": key})[0]

        return jax.vmap(one)(x, noise_cond, cond, keys)

    @property
    def null(self) -> int:
        """The null class."""
        return len(self.spec.classes)

    def init_params(self) -> Params:
        """Fresh weights, a function of the seed."""
        x = jnp.zeros((1, *self.spec.shape))
        key = jax.random.fold_in(jax.random.key(self.seed), 0)
        net = jax.jit(self.model.init)(key, x, jnp.zeros(1), jnp.zeros(1, jnp.int32))["params"]
        of_schedule, of_objective = jax.random.split(key)
        return Params(
            net, self.schedule.init_params(of_schedule), self.objective.init_params(of_objective)
        )

    def optimizer(self) -> optax.GradientTransformation:
        return self.optim.transform(self.train.steps)

    def init_state(self) -> TrainState:
        return init_state(
            self.init_params(), self.optimizer(), self.time_sampler.init(self.schedule)
        )

    def train_key(self) -> Array:
        """The key from which every step folds its own."""
        return jax.random.fold_in(jax.random.key(self.seed), 1)

    def loss_fn(self) -> LossFn:
        problem = Problem(
            self.net,
            self.prediction,
            self.noise_cond,
            self.weighting,
            self.distance,
            Values(*self.scaling.limits()),
        )
        return diffusion_loss(
            problem,
            self.schedule,
            self.objective,
            self.time_sampler,
            self.train.batch,
            self.loss.uniforms,
            self.null,
            self.loss.class_dropout,
        )

    def prepare(self, feed: Feed, pool: Array | None) -> Batch:
        """Training examples from what the pipeline feeds."""
        batch = prepare(self.scaling, feed, pool)
        return batch if self.model.conditional else batch._replace(cond=None)

    def train_step(self, axis: str | None) -> Callable:
        """(state, feed, pool, key) -> (state, metrics), per device."""
        return make_train_step(
            self.loss_fn(),
            self.prepare,
            self.optimizer(),
            self.ema,
            self.time_sampler.update,
            self.train.accumulate,
            axis,
        )

    def image_classes(self, index: Array | np.ndarray) -> Array:
        """The class of image k: `sample.classes` in turn."""
        classes = jnp.array(self.sample.classes or range(max(self.null, 1)), jnp.int32)
        return classes[index % len(classes)]

    @property
    def grid_steps(self) -> int:
        """Times of the sampling grid: `sample.steps`, or what `sample.evaluations` pays for."""
        budget = self.sample.evaluations
        return (budget - 1) // (self.sampler.evaluations or 1) + 1 if budget else self.sample.steps

    def schedule_of(self, params: Params) -> Any:
        """The schedule with its trained parameters, where it has any."""
        return self.schedule.with_params(params.schedule)

    def denoiser(self, params: Params, cond: Array | None) -> Denoise:
        """The network as a denoiser under conditions (B,), its estimates unclipped."""
        schedule = self.schedule_of(params)
        return denoiser(self.net, params.net, schedule, self.prediction, self.noise_cond, cond)

    def guided(self, params: Params, labels: Array) -> Denoise:
        """The denoiser that sampling runs: towards the classes (B,), guided, estimates clipped.

        An unconditional model takes no notice of the classes.
        """
        if self.model.conditional:
            null = self.denoiser(params, jnp.full_like(labels, self.null))
            denoise = guide(self.denoiser(params, labels), null, self.sample.guidance)
        else:
            denoise = self.denoiser(params, None)
        return CLIPS[self.sample.clip](denoise, *self.scaling.limits())

    def sampling_times(self, params: Params) -> Array:
        """The grid that sampling runs on."""
        return self.timesteps.times(self.schedule_of(params), self.grid_steps)

    def noise_key(self, index: Array) -> Array:
        """The keys (B,) of the noise that images `index` start from."""
        return fold_in(fold_in(jax.random.key(self.sample.seed), index), 0)

    def sampler_key(self, index: Array) -> Array:
        """The keys (B,) of the noise that the sampler adds to images `index`."""
        return fold_in(fold_in(jax.random.key(self.sample.seed), index), 1)

    def start(self, params: Params, index: Array) -> Array:
        """What images `index` (B,) start from: x at the first time of the grid, (B, H, W, C)."""
        shape = len(index), *self.spec.shape
        t = self.sampling_times(params)[0]
        return prior(self.schedule_of(params), self.noise_key(index), jnp.zeros(shape), t)

    def generate(self, params: Params, index: Array) -> Array:
        """Images `index` (B,) in [0, 1], float32 (B, H, W, C).

        Image k is a function of (params, sample.seed, k) alone.
        """
        x = self.start(params, index)
        return self.generate_from(params, index, x, self.image_classes(index))

    def generate_from(self, params: Params, index: Array, x: Array, labels: Array) -> Array:
        """Images in [0, 1] from starts x (B, H, W, C), with the sampler's noise of `index` (B,)."""
        denoise, schedule = self.guided(params, labels), self.schedule_of(params)
        times, key = self.sampling_times(params), self.sampler_key(index)
        return self.scaling.decode(sample(denoise, schedule, self.sampler, times, x, key))

    def film(
        self,
        params: Params,
        index: Array,
        x: Array,
        labels: Array,
        times: Array | np.ndarray,
        chosen: Array | np.ndarray,
    ) -> tuple[Array, Array]:
        """(x_t (B, n, H, W, C) at `times` (n,), x0_hat (B, m, H, W, C) at times[chosen]).

        From starts x at times[0], as `generate_from` goes; x0_hat at the last time is its sample.
        """
        denoise, schedule = self.guided(params, labels), self.schedule_of(params)
        x_t = trajectory(denoise, schedule, self.sampler, times, x, self.sampler_key(index))
        few = x_t[chosen], jnp.asarray(times)[chosen]
        x0 = jax.lax.map(lambda pair: denoise(*pair).x0, few)
        return jnp.moveaxis(x_t, 0, 1), jnp.moveaxis(x0, 0, 1)

    def parameter_count(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(self.init_params)))
