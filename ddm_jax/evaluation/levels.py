"""The error of estimates of x_0 by noise level, and the moments of data that bound it."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.diffusion.arrays import fold_in, normal_like
from ddm_jax.diffusion.conditions import Raw
from ddm_jax.diffusion.process import diffuse
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.diffusion import Diffusion

MOST = 4096  # elements of an example whose covariance is still taken apart


class Moments(NamedTuple):
    """What is known of examples x (N, ..., C) beside their shape.

    mean, std, low, high: per channel (C,). variances: between the examples, (m,): the eigenvalues
    of the covariance where `full`, else of each element for itself. So their mean is the error of
    the best constant image. spread: between the examples, the mean of the elements' variances.
    """

    count: int
    mean: np.ndarray
    std: np.ndarray
    low: np.ndarray
    high: np.ndarray
    variances: np.ndarray
    full: bool

    @property
    def spread(self) -> float:
        return float(self.variances.mean())


def training_times(task: Diffusion, weights: Weights, count: int) -> np.ndarray:
    """Times (count,), the middle of each of `count` equal shares of the training times."""
    schedule, sampler = task.model.trained(weights.params), task.time_sampler
    u = jnp.asarray((np.arange(count) + 0.5) / count, jnp.float32)
    return np.asarray(sampler.quantile(schedule, u, sampler.init(schedule)))


def errors(
    task: Diffusion,
    weights: Weights,
    x0: Array,
    raws: Mapping[str, Raw],
    *,
    times: Array | np.ndarray,
    keys: Array,
) -> dict[str, Array]:
    """|x0_hat - x0|^2 / d at each time, (B, L), under each of the raw conditions (B, ...) by name.

    At level k every condition meets the same noise, that of fold_in(keys, k); keys (B,). The
    estimates are neither guided nor clipped.
    """
    schedule = task.model.trained(weights.params)

    def by_level(raw: Raw) -> Array:
        denoise = task.model.denoiser(weights.params, raw)

        def error(level: tuple[Array, Array]) -> Array:
            k, t = level
            x_t = diffuse(schedule, x0, normal_like(fold_in(keys, k), x0), t)
            return ((denoise(x_t, t).x0 - x0) ** 2).reshape(len(x0), -1).mean(1)

        return jax.lax.map(error, (jnp.arange(len(times)), jnp.asarray(times))).T

    return {name: by_level(raw) for name, raw in raws.items()}


def moments(blocks: Iterable[np.ndarray]) -> Moments:
    """Of examples in blocks (n, ..., C), which are gone through once, in float64.

    The covariance is full where there are at least two examples an element and at most MOST
    elements; with fewer it would know the examples themselves.
    """
    x = np.concatenate([np.asarray(block, np.float32) for block in blocks])
    count, channels, size = len(x), x.shape[-1], x[0].size
    flat = x.reshape(count, size).astype(np.float64)
    away = flat - flat.mean(0)
    full = size <= MOST and count >= 2 * size
    variances = np.linalg.eigvalsh(away.T @ away / count) if full else (away**2).mean(0)
    pixels = x.reshape(-1, channels).astype(np.float64)
    seen = pixels.mean(0), pixels.std(0), pixels.min(0), pixels.max(0)
    return Moments(count, *seen, np.maximum(variances, 0.0), full)


def told_apart(x: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    """(share of the variance of x (N, ...) between the means of its classes, the share by chance).

    By chance it is (K - 1) / (N - 1) for K classes that have examples. label: (N,).
    """
    flat = x.reshape(len(x), -1).astype(np.float64)
    away = flat - flat.mean(0)
    found = np.unique(label)
    between = sum((label == k).sum() * (away[label == k].mean(0) ** 2).sum() for k in found)
    return float(between / max((away**2).sum(), 1e-30)), (len(found) - 1) / max(len(x) - 1, 1)
