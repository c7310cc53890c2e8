"""Any objective under a learned weighting of the noise levels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.diffusion.losses.base import Objective
from ddm_jax.diffusion.losses.noised import NoisedBatch, Problem
from ddm_jax.diffusion.noise_conds import random_waves
from ddm_jax.diffusion.schedules.base import Schedule


def flat(features: int) -> Array:
    """The parameters (features,) of a weighting that leaves all levels as they are."""
    return jnp.zeros((features,))


@dataclass(frozen=True)
class Balanced(Objective):
    """e^-u L + u, L the loss of the objective `of` and u a learned function of log-SNR.

    At its best u is the logarithm of the expected L, which takes every noise level to the same
    size. It is linear in Fourier features of -logsnr / 8, with frequencies N(0, 1) and uniform
    phases; `params` (features,) are its coefficients. Karras et al. 2023, arXiv:2312.02696.
    """

    params: Array
    of: Objective

    def log_loss(self, logsnr: Array) -> Array:
        """u at log-SNRs (B,) -> (B,)."""
        waves = random_waves(-logsnr / 8, len(self.params))
        return waves @ self.params / np.sqrt(len(self.params))

    def loss(
        self, problem: Problem, params: Any, schedule: Schedule, batch: NoisedBatch
    ) -> tuple[Array, Mapping[str, Array]]:
        u = self.log_loss(schedule.logsnr(batch.t))
        plain, parts = self.of.loss(problem, params, schedule, batch)
        return jnp.exp(-u) * plain + u, {**parts, "loss_weighted": plain}
