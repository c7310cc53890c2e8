"""Starts at a level of noise between the data and the prior."""

import numpy as np
from jax.typing import ArrayLike

from ddm_jax.diffusion.arrays import T, X, expand
from ddm_jax.diffusion.process import diffuse, marginal_scale
from ddm_jax.diffusion.schedules.base import Rates


def from_level(times: ArrayLike, t: float | np.floating) -> np.ndarray:
    """The grid for a start at t: t itself, then those of `times` (n,) that lie below it, float32.

    Noising to t and sampling from there keeps what t leaves of an image and redraws the rest.
    Meng et al. 2021, arXiv:2108.01073, algorithm 1.
    """
    grid, start = np.asarray(times, np.float32), np.float32(t)
    return np.concatenate([[start], grid[grid < start]])


def strength_times(times: ArrayLike, strength: float) -> np.ndarray:
    """The part of the grid `times` (n,) that an edit of this strength walks, float32.

    It starts at strength times the grid's first time: 1 gives the grid itself, 0 the data's end.
    ValueError for a strength outside [0, 1]. Meng et al. 2021, arXiv:2108.01073, section 3.
    """
    _check_strength(strength)
    grid = np.asarray(times, np.float32)
    return from_level(grid, np.float32(strength) * grid[0])


def strength_start(schedule: Rates, known: X, eps: X, *, t: T, strength: float) -> X:
    """x at the first time t of `strength_times`: the image diffused, of strength 1 the prior alone.

    At strength 1 it is sqrt(alpha(t)^2 + sigma(t)^2) eps, bitwise what `loop.prior` gives for the
    same noise, so that nothing of the image is left even where alpha(t) is not zero. Below it is
    alpha(t) known + sigma(t) eps. known: the image, and eps: standard normal noise, (B, ...);
    t: () or (B,). ValueError for a strength outside [0, 1].
    """
    _check_strength(strength)
    if strength == 1:
        return expand(marginal_scale(schedule, t), eps) * eps
    return diffuse(schedule, known, eps, t)


def _check_strength(strength: float) -> None:
    if not 0 <= strength <= 1:
        raise ValueError(f"strength lies in [0, 1], not {strength}")
