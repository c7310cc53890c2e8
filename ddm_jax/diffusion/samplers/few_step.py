"""Samplers for models whose estimate is the end of a path: one or a few evaluations."""

from dataclasses import dataclass

import jax.numpy as jnp

from ddm_jax.diffusion.arrays import Keys, T, X, normal_like
from ddm_jax.diffusion.process import Denoise, diffuse
from ddm_jax.diffusion.samplers.base import Memory, Sampler
from ddm_jax.diffusion.schedules.base import Schedule


@dataclass(frozen=True)
class Consistency(Sampler):
    """x_s = alpha_s x0_hat + sigma_s z: the estimate, noised afresh to the next level.

    For a consistency model, whose estimate is the end of x_t's path. With alpha = 1 and a model
    that ends at the level epsilon, the published sqrt(sigma_s^2 - epsilon^2) takes the place of
    sigma_s; here paths end at x_0, where epsilon = 0. Song et al. 2023, arXiv:2303.01469,
    algorithm 1.
    """

    @property
    def estimate(self) -> str:
        return "end"

    def step(
        self, denoise: Denoise, schedule: Schedule, x_t: X, *, t: T, s: T, key: Keys, memory: Memory
    ) -> tuple[X, Memory]:
        x0_t = denoise(x_t, t, jnp.zeros_like(t)).x0
        return diffuse(schedule, x0_t, normal_like(key, x_t), s), memory


FEW_STEP = {"consistency": Consistency}
