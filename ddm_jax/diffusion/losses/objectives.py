"""What training minimises: the loss of one example, noised and seen by the network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.likelihood.vlb import bits, decoder_term, kl_term, prior_term
from ddm_jax.diffusion.losses.balanced import Balanced, flat
from ddm_jax.diffusion.losses.base import Objective
from ddm_jax.diffusion.losses.consistency import Consistency, ConsistencyDistillation
from ddm_jax.diffusion.losses.continuous import ContinuousConsistency, ContinuousDistillation
from ddm_jax.diffusion.losses.distillation import Teacher
from ddm_jax.diffusion.losses.halving import Progressive, Shortcut
from ddm_jax.diffusion.losses.mean_flow import ImprovedMeanFlow, MeanFlow
from ddm_jax.diffusion.losses.noised import (
    NoisedBatch,
    Predicted,
    Problem,
    predict_noised,
    weighted_error,
)
from ddm_jax.diffusion.losses.vdm import VDM
from ddm_jax.diffusion.process import VARIANCES
from ddm_jax.diffusion.schedules.base import Schedule


@dataclass(frozen=True)
class Weighted(Objective):
    """distance(sqrt(w) (x0_hat - x_0)), by default w |x0_hat - x_0|^2: the weighting's loss."""

    def loss(
        self, problem: Problem, params: Any, schedule: Schedule, batch: NoisedBatch
    ) -> tuple[Array, Mapping[str, Array]]:
        predicted = predict_noised(problem, params, schedule, batch)
        return weighted_error(problem, schedule, batch.t, predicted), {}


@dataclass(frozen=True)
class VLB(Objective):
    """The variational bound of the chain of the schedule's T levels, in bits per element.

    T L_i + L_prior at level i: the KL of the step down from it, or the decoder at the lowest. With
    `variance` "learned" the network learns the variance too. Times must be levels. Ho et al. 2020,
    arXiv:2006.11239, eq. 5; Nichol & Dhariwal 2021, arXiv:2102.09672, L_vlb.
    """

    variance: str = "learned"

    chain = True
    unit = "bits per element"

    def __post_init__(self):
        if self.variance not in VARIANCES:
            raise ValueError(f"variance is one of {', '.join(VARIANCES)}, not {self.variance!r}")

    @property
    def learns_variance(self) -> bool:
        return self.variance == "learned"

    def loss(
        self, problem: Problem, params: Any, schedule: Schedule, batch: NoisedBatch
    ) -> tuple[Array, Mapping[str, Array]]:
        predicted = predict_noised(problem, params, schedule, batch)
        terms = chain_term(problem, schedule, batch, predicted, variance=self.variance)
        prior = bits(prior_term(schedule, batch.x0))
        return schedule.num_timesteps * terms + prior, {"loss_prior": prior}


@dataclass(frozen=True)
class Hybrid(Objective):
    """L_simple + scale L_vlb, where L_vlb trains the learned variance only: its mean is held.

    L_vlb is that of VLB without the prior, L_simple the weighting's loss. Times must be levels.
    Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 16.
    """

    scale: float = 0.001

    chain = True
    learns_variance = True

    def loss(
        self, problem: Problem, params: Any, schedule: Schedule, batch: NoisedBatch
    ) -> tuple[Array, Mapping[str, Array]]:
        predicted = predict_noised(problem, params, schedule, batch)
        held = predicted.estimate._replace(x0=jax.lax.stop_gradient(predicted.estimate.x0))
        held = predicted._replace(estimate=held)
        vlb = schedule.num_timesteps * chain_term(
            problem, schedule, batch, held, variance="learned"
        )
        simple = weighted_error(problem, schedule, batch.t, predicted)
        return simple + self.scale * vlb, {"loss_simple": simple, "loss_vlb": vlb}


def chain_term(
    problem: Problem, schedule: Schedule, batch: NoisedBatch, predicted: Predicted, *, variance: str
) -> Array:
    """The bound's term at the level of t, in bits per element (B,): KL, or the decoder at t = 0."""
    top = schedule.num_timesteps - 1
    level = jnp.round(batch.t * top)
    upper = jnp.maximum(level, 1.0)
    t, s = upper / top, (upper - 1) / top
    kl = kl_term(schedule, predicted.estimate, batch.x0, predicted.x_t, t=t, s=s, variance=variance)
    how = {"before": t, "variance": variance, **problem.values._asdict()}
    last = decoder_term(schedule, predicted.estimate, batch.x0, s, **how)
    return jnp.where(level == 0, bits(last), bits(kl))


@dataclass(frozen=True)
class Uncertainty(Objective):
    """e^-u L + u, L the weighting's loss and u, of `features` coefficients, that of Balanced; it
    starts at 0. Karras et al. 2023, arXiv:2312.02696."""

    features: int = 128

    def __post_init__(self):
        if self.features < 1:
            raise ValueError("needs features >= 1")

    def init_params(self, key: Array) -> Array:
        return flat(self.features)

    def with_params(self, params: Array) -> Balanced:
        return Balanced(params, Weighted())

    def loss(
        self, problem: Problem, params: Any, schedule: Schedule, batch: NoisedBatch
    ) -> tuple[Array, Mapping[str, Array]]:
        return self.with_params(flat(self.features)).loss(problem, params, schedule, batch)


OBJECTIVES = {
    "weighted": Weighted,
    "vlb": VLB,
    "hybrid": Hybrid,
    "vdm": VDM,
    "uncertainty": Uncertainty,
    "teacher": Teacher,
    "mean_flow": MeanFlow,
    "improved_mean_flow": ImprovedMeanFlow,
    "shortcut": Shortcut,
    "consistency": Consistency,
    "consistency_distillation": ConsistencyDistillation,
    "continuous_consistency": ContinuousConsistency,
    "continuous_distillation": ContinuousDistillation,
    "progressive": Progressive,
}
