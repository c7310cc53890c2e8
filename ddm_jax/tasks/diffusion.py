"""The task of a diffusion model: train it on noised examples, and generate with it."""

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
from ddm_jax.diffusion.arrays import fold_in
from ddm_jax.diffusion.conditions import Raw
from ddm_jax.diffusion.guidance import GUIDANCES, at_the_same_noise
from ddm_jax.diffusion.losses.base import Batch, Objective, Params, Terms
from ddm_jax.diffusion.losses.distances import DISTANCES
from ddm_jax.diffusion.losses.draws import Draws, diffusion_loss
from ddm_jax.diffusion.losses.noised import Problem, Values
from ddm_jax.diffusion.losses.objectives import OBJECTIVES
from ddm_jax.diffusion.losses.time_samplers import TIME_SAMPLERS
from ddm_jax.diffusion.losses.weightings import WEIGHTINGS
from ddm_jax.diffusion.noise_conds import NOISE_CONDS
from ddm_jax.diffusion.predictions import PREDICTIONS
from ddm_jax.diffusion.process import Denoise
from ddm_jax.diffusion.samplers import SAMPLERS
from ddm_jax.diffusion.samplers.timesteps import TIMESTEPS
from ddm_jax.diffusion.schedules import SCHEDULES
from ddm_jax.models import MODELS
from ddm_jax.models.codecs import CODECS
from ddm_jax.models.conditions import CONDITIONS
from ddm_jax.models.diffusion_model import DiffusionModel
from ddm_jax.models.features import FEATURES, Features
from ddm_jax.options.measuring import DoctorOptions, EvaluateOptions
from ddm_jax.options.sampling import SampleOptions
from ddm_jax.options.training import LossOptions
from ddm_jax.tasks.base import AUTOENCODER, Build, Loan, RunName
from ddm_jax.tasks.edits import EDITS, Edit
from ddm_jax.tasks.generator import Generator
from ddm_jax.training.base import Constants, View

OF_CONDITIONS = 2**31 - 1  # folded into the key of a batch for the noise of conditions: no place


@dataclass(frozen=True)
class Diffusion:
    """Denoise: the model, how it is trained, and how it is sampled from, measured and edited with.

    lent: the tasks of borrowed runs, by role. The teacher is the model that objectives may compare
    with; the features are what samples are compared by; the others guide (see GUIDANCES).
    """

    spec: Spec
    augment: Augment
    codec: Any
    model: DiffusionModel
    objective: Objective
    weighting: Any
    distance: Any
    time_sampler: Any
    draws: Draws
    teacher: RunName
    generator: Generator
    evaluate: EvaluateOptions
    features: Features
    doctor: DoctorOptions
    edit: Edit
    lent: Mapping[str, Any]

    tables: ClassVar[Mapping[str, Mapping[str, type]]] = {
        "augment": AUGMENTS,
        "codec": CODECS,
        "model": MODELS,
        "schedule": SCHEDULES,
        "prediction": PREDICTIONS,
        "noise_cond": NOISE_CONDS,
        "condition": CONDITIONS,
        "time_sampler": TIME_SAMPLERS,
        "objective": OBJECTIVES,
        "weighting": WEIGHTINGS,
        "distance": DISTANCES,
        "sampler": SAMPLERS,
        "timesteps": TIMESTEPS,
        "guidance": GUIDANCES,
        "features": FEATURES,
        "edit": EDITS,
    }
    parts: ClassVar[Mapping[str, type]] = {
        "loss": LossOptions,
        "teacher": RunName,
        "sample": SampleOptions,
        "evaluate": EvaluateOptions,
        "doctor": DoctorOptions,
    }
    free: ClassVar[tuple[str, ...]] = (
        "sample.",
        "sampler.",
        "timesteps.",
        "guidance.",
        "evaluate.",
        "features.",
        "doctor.",
        "edit.",
        "teacher.run",
        "codec.latent.run",
        "condition.image.sampling_noise",
    )
    borrows: ClassVar[Mapping[str, Loan]] = {
        "teacher": Loan("teacher.run", "diffusion", training=True, using=False),
        "autoencoder": AUTOENCODER,
        "reference": Loan("guidance.auto.run", "diffusion"),
        "judge": Loan("guidance.classifier.run", "classifier"),
        "features": Loan("features.classifier.run", "classifier"),
    }

    @classmethod
    def make(cls, build: Build, spec: Spec, batch: int, lent: Mapping[str, Any]) -> "Diffusion":
        codec, objective = build("codec", spec=spec, lent=lent), build("objective")
        channels = codec.shape[-1] * (2 if objective.learns_variance else 1)
        net = build("model", out_channels=channels)
        condition = build("condition", width=net.width, spec=spec)
        schedule, prediction = build("schedule"), build("prediction")
        parts = schedule, prediction, build("noise_cond")
        model = DiffusionModel(net, *parts, condition, codec.shape, objective.two_times)
        how = build("sampler"), build("timesteps"), build("guidance"), build("sample")
        loss = build("loss")
        return cls(
            spec,
            build("augment"),
            codec,
            model,
            objective,
            build("weighting"),
            build("distance"),
            build("time_sampler"),
            Draws(batch, loss.uniforms, loss.class_dropout),
            build("teacher"),
            Generator(spec, codec, model, *how, lent),
            build("evaluate"),
            build("features", spec=spec),
            build("doctor"),
            build("edit"),
            lent,
        )

    @property
    def unit(self) -> str:
        return self.objective.unit

    def init(self, key: Array) -> Params:
        _, of_objective = jax.random.split(key)
        params = self.model.init(key)._replace(objective=self.objective.init_params(of_objective))
        if not self.augment.label_size:
            return params
        return params._replace(augment=jnp.zeros((self.augment.label_size, self.model.net.width)))

    def memory(self) -> Any:
        return self.time_sampler.init(self.model.schedule)

    def remember(self, memory: Any, t: Array | None, loss: Array) -> Any:
        return memory if t is None else self.time_sampler.update(memory, t, loss)

    def learn(self, columns: Mapping[str, np.ndarray]) -> str:
        return self.model.condition.learn(columns)

    def columns(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self.model.condition.columns(columns)

    def frozen(self, cache: Path, report: Report) -> dict[str, Any]:
        return {}

    def prepare(self, feed: Mapping[str, Array], constants: Constants, key: Array) -> Batch:
        columns = prepare(feed, constants.pool, self.augment)
        keys = fold_in(key, columns["place"])
        x0 = self.codec.encode(columns["x"], constants.borrowed, keys)
        own = fold_in(jax.random.fold_in(key, OF_CONDITIONS), columns["place"])
        condition = self.model.condition
        raw = condition.noised(condition.raw(columns), own, training=True)
        labels, noise = self.augment.labels(feed), columns.get("noise")
        return Batch(x0, raw, columns["place"], labels, noise)

    def problem(self) -> Problem:
        """What objectives are told of the network and the data."""
        model, values = self.model, Values(*self.codec.limits() or (), levels=self.spec.levels)
        parts = model.prediction, model.noise_cond, self.weighting, self.distance
        return Problem(model.apply, *parts, values)

    def loss(
        self,
        params: Params,
        batch: Batch,
        key: Array,
        *,
        borrowed: Mapping[str, Params],
        view: View,
    ) -> Terms:
        model = self.model
        loss = diffusion_loss(
            self.problem(),
            model.schedule,
            self.objective,
            self.time_sampler,
            embedding=model.condition,
            draws=self.draws,
        )

        def teacher(raw: Raw) -> Denoise:
            other, theirs = self.lent["teacher"].model, borrowed["teacher"]
            asked = other.denoiser(theirs, raw)
            return at_the_same_noise(asked, other.trained(theirs), model.trained(params))

        asks = self.objective.asks_teacher
        return loss(
            params,
            batch,
            key,
            view.memory,
            teacher=teacher if asks else None,
            step=view.step,
        )
