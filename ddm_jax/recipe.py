"""ConfigDict -> Recipe: the pure functions of a run, assembled once at the door."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from ddm_jax import config as config_
from ddm_jax.checks import check
from ddm_jax.data.dataset import DataOptions, Spec
from ddm_jax.data.pipeline import Feed, Scaling, prepare, scaling_of
from ddm_jax.diffusion.core import Denoise, fold_in, init_params, with_params
from ddm_jax.diffusion.guidance import guide
from ddm_jax.diffusion.losses import Batch, LossFn, Params, diffusion_loss
from ddm_jax.diffusion.predictions import denoiser
from ddm_jax.diffusion.samplers import CLIPS, prior, sample
from ddm_jax.diffusion.seen import Problem, Values
from ddm_jax.models import MODELS
from ddm_jax.options import EvaluateOptions, LossOptions, SampleOptions, TrainOptions
from ddm_jax.sections import PARTS, TABLES
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
    label: Any
    times: Any
    objective: Any
    weighting: Any
    error: Any
    sampler: Any
    grid: Any
    loss: LossOptions
    optim: Optim
    ema: Ema
    train: TrainOptions
    sample: SampleOptions
    evaluate: EvaluateOptions
    warnings: tuple[str, ...] = ()  # what is dangerous about it

    def net(self, params, x: Array, label: Array, cond: Array | None, keys=None) -> Array:
        """The network. With dropout keys (B,) it trains, each example with a mask of its own."""
        if keys is None or not self.model.dropout:
            return self.model.apply({"params": params}, x, label, cond, keys is not None)

        def one(x, label, cond, key):
            few = jax.tree.map(lambda a: a[None], (x, label, cond))
            return self.model.apply({"params": params}, *few, True, rngs={"dropout": key})[0]

        return jax.vmap(one)(x, label, cond, keys)

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
            net, init_params(self.schedule, of_schedule), init_params(self.objective, of_objective)
        )

    def optimizer(self) -> optax.GradientTransformation:
        return self.optim.transform(self.train.steps)

    def init_state(self) -> TrainState:
        return init_state(self.init_params(), self.optimizer(), self.times.init())

    def train_key(self) -> Array:
        """The key from which every step folds its own."""
        return jax.random.fold_in(jax.random.key(self.seed), 1)

    def loss_fn(self) -> LossFn:
        problem = Problem(
            self.net,
            self.prediction,
            self.label,
            self.weighting,
            self.error,
            Values(*self.scaling.limits()),
        )
        return diffusion_loss(
            problem,
            self.schedule,
            self.objective,
            self.times,
            self.train.batch,
            self.loss.uniforms,
            self.null,
            self.loss.label_dropout,
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
            self.times.update,
            self.train.accumulate,
            axis,
        )

    def image_classes(self, index: Array) -> Array:
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
        return with_params(self.schedule, params.schedule)

    def denoiser(self, params: Params, cond: Array | None) -> Denoise:
        """The network as a denoiser under conditions (B,), its estimates unclipped."""
        schedule = self.schedule_of(params)
        return denoiser(self.net, params.net, schedule, self.prediction, self.label, cond)

    def generate(self, params: Params, index: Array) -> Array:
        """Images `index` (B,) in [0, 1], float32 (B, H, W, C).

        Image k is a function of (params, sample.seed, k) alone.
        """
        keys = fold_in(jax.random.key(self.sample.seed), index)
        schedule = self.schedule_of(params)
        times = self.grid.times(schedule, self.grid_steps)
        shape = len(index), *self.spec.shape
        start = prior(schedule, fold_in(keys, 0), jnp.zeros(shape), times[0])
        if self.model.conditional:
            labels = self.image_classes(index)
            main, null = (
                self.denoiser(params, c) for c in (labels, jnp.full_like(labels, self.null))
            )
            denoise = guide(main, null, self.sample.guidance)
        else:
            denoise = self.denoiser(params, None)
        denoise = CLIPS[self.sample.clip](denoise, *self.scaling.limits())
        x = sample(denoise, schedule, self.sampler, times, start, fold_in(keys, 1))
        return self.scaling.decode(x)

    def parameter_count(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(self.init_params)))


def assemble(config: ConfigDict, spec: Spec) -> Recipe:
    """The Recipe of a config for data of `spec`; raises UserError for what cannot work."""
    parts = {name: config_.build(cls, config[name], name) for name, cls in PARTS.items()}
    rows = {
        name: config_.build(table, config[name], name)
        for name, table in TABLES.items()
        if name != "model"
    }
    channels = spec.shape[-1] * (2 if rows["objective"].learned else 1)
    rows["model"] = config_.build(
        MODELS, config.model, "model", out_channels=channels, classes=len(spec.classes)
    )
    recipe = Recipe(spec, scaling_of(spec, parts["data"].scaling), config.seed, **parts, **rows)
    return dataclasses.replace(recipe, warnings=check(recipe))
