"""Densities of training times on [0, 1], and how a batch draws from them."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtri

from ddm_jax.diffusion.arrays import Times, fold_in
from ddm_jax.diffusion.losses.base import Memory, TimeSampler
from ddm_jax.diffusion.losses.importance import Importance
from ddm_jax.diffusion.schedules.base import Schedule


@dataclass(frozen=True)
class Uniform(TimeSampler):
    """t ~ U(0, 1), continuous."""

    def quantile(self, schedule: Schedule, u: Times, memory: Memory) -> Array:
        return jnp.asarray(u)


@dataclass(frozen=True)
class Discrete(TimeSampler):
    """t uniform on the levels i / (T - 1), i = 0 .. T - 1. Ho et al. 2020, arXiv:2006.11239."""

    def quantile(self, schedule: Schedule, u: Times, memory: Memory) -> Array:
        return jnp.floor(u * schedule.num_timesteps) / (schedule.num_timesteps - 1)


@dataclass(frozen=True)
class LogNormal(TimeSampler):
    """ln(sigma / alpha) ~ N(mean, std^2), cut to the schedule's ends.

    Karras et al. 2022, arXiv:2206.00364, table 1.
    """

    mean: float = -1.2
    std: float = 1.2

    def quantile(self, schedule: Schedule, u: Times, memory: Memory) -> Array:
        return jnp.clip(schedule.time(-2 * (self.mean + self.std * ndtri(u))), 0.0, 1.0)


@dataclass(frozen=True)
class LogitNormal(TimeSampler):
    """t = sigmoid(mean + std z), z ~ N(0, 1). Esser et al. 2024, arXiv:2403.03206, section 3.1."""

    mean: float = 0.0
    std: float = 1.0

    def quantile(self, schedule: Schedule, u: Times, memory: Memory) -> Array:
        return jax.nn.sigmoid(self.mean + self.std * ndtri(u))


@dataclass(frozen=True)
class LogUniform(TimeSampler):
    """Log-SNR uniform between the schedule's ends, so ln(sigma / alpha) is too."""

    def quantile(self, schedule: Schedule, u: Times, memory: Memory) -> Array:
        high, low = schedule.logsnr(jnp.array([0.0, 1.0]))
        return jnp.clip(schedule.time(high + u * (low - high)), 0.0, 1.0)


TIME_SAMPLERS = {
    "uniform": Uniform,
    "discrete": Discrete,
    "log_normal": LogNormal,
    "logit_normal": LogitNormal,
    "log_uniform": LogUniform,
    "importance": Importance,
}


def independent(key: Array, place: Array, size: int) -> Array:
    """u_i ~ U(0, 1), each its own."""
    return jax.vmap(jax.random.uniform)(fold_in(key, place))


def antithetic(key: Array, place: Array, size: int) -> Array:
    """Pairs u, 1 - u: examples 2 i and 2 i + 1 share a draw."""
    u = independent(key, place // 2, size)
    return jnp.where(place % 2 == 0, u, 1 - u)


def stratified(key: Array, place: Array, size: int) -> Array:
    """u_i = (u + i / B) mod 1: one draw for all, so each B-th part of (0, 1) has one example.

    Kingma et al. 2021, arXiv:2107.00630.
    """
    return jnp.mod(jax.random.uniform(key) + place / size, 1.0)


UNIFORMS = {"independent": independent, "antithetic": antithetic, "stratified": stratified}


def uniforms(kind: str, key: Array, place: Array, size: int) -> Array:
    """Draws (B,) in the open interval (0, 1) for examples `place` of a whole batch of `size`."""
    u = UNIFORMS[kind](key, place, size)
    return jnp.clip(u, 2.0**-24, 1 - 2.0**-24)
