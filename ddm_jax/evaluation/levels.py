"""The error of estimates of x_0 by noise level, and the moments of data that bound it."""

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


def training_times(task: Diffusion, weights: Weights, count: int) -> np.ndarray:
    """Times (count,), the middle of each of `count` equal shares of the training times."""
    schedule, sampler = task.model.trained(weights.params), task.time_sampler
    u = jnp.asarray((np.arange(count) + 0.5) / count, jnp.float32)
    return np.asarray(sampler.quantile(schedule, u, sampler.init(schedule)))


def errors(
    task: Diffusion,
    weights: Weights,
    x0: Array,
    raw: Raw,
    *,
    times: Array | np.ndarray,
    keys: Array,
) -> Array:
    """|x0_hat - x0|^2 / d of examples x0 (B, ...) at each time (L,), under raw conditions: (B, L).

    The noise at level k is that of fold_in(keys, k), keys (B,), whatever weights and conditions.
    The estimates are neither guided nor clipped.
    """
    schedule = task.model.trained(weights.params)
    denoise = task.model.denoiser(weights.params, raw)

    def error(level: tuple[Array, Array]) -> Array:
        k, t = level
        x_t = diffuse(schedule, x0, normal_like(fold_in(keys, k), x0), t)
        return ((denoise(x_t, t).x0 - x0) ** 2).reshape(len(x0), -1).mean(1)

    return jax.lax.map(error, (jnp.arange(len(times)), jnp.asarray(times))).T


def variances(x: np.ndarray) -> tuple[np.ndarray, bool]:
    """(between examples x (N, ...), (m,); whether they are eigenvalues of the full covariance).

    Where examples are fewer than two an element, or elements more than MOST, they are the variances
    of the elements, each for itself: a covariance of few examples would know these by heart. Their
    mean is the error of the best constant either way.
    """
    flat = x.reshape(len(x), -1).astype(np.float64)
    away = flat - flat.mean(0)
    full = away.shape[1] <= MOST and len(x) >= 2 * away.shape[1]
    found = np.linalg.eigvalsh(away.T @ away / len(x)) if full else (away**2).mean(0)
    return np.maximum(found, 0.0), full


def told_apart(x: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    """(share of the variance of x (N, ...) between the means of its classes, the share by chance).

    By chance it is (K - 1) / (N - 1) for K classes that have examples. label: (N,).
    """
    flat = x.reshape(len(x), -1).astype(np.float64)
    away = flat - flat.mean(0)
    found = np.unique(label)
    between = sum((label == k).sum() * (away[label == k].mean(0) ** 2).sum() for k in found)
    return float(between / max((away**2).sum(), 1e-30)), (len(found) - 1) / max(len(x) - 1, 1)
