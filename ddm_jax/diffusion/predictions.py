"""What the network predicts and what it is told of the noise: rows of coefficients.

x0_hat = c_skip x_t + c_out F(c_in x_t, label(t)); everything else (targets, losses, denoisers)
follows from the three coefficients. Form of Karras et al. 2022, arXiv:2206.00364, eq. 7.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.core import Denoise, Estimate, expand

Net = Callable[[Any, Array, Array, Any], Array]  # (params, x (B, ...), label (B,), cond) -> F


class Prediction(Protocol):
    """Coefficients of a parameterisation, elementwise in alpha and sigma."""

    def coefficients(self, alpha: Array, sigma: Array) -> tuple[Array, Array, Array]:
        """(c_skip, c_out, c_in)."""


@dataclass(frozen=True)
class Eps:
    """F = eps: x_0 = (x_t - sigma F) / alpha. Ho et al. 2020, arXiv:2006.11239, eq. 11."""

    def coefficients(self, alpha: Array, sigma: Array) -> tuple[Array, Array, Array]:
        return 1 / alpha, -sigma / alpha, jnp.ones_like(alpha)


@dataclass(frozen=True)
class X0:
    """F = x_0. Ho et al. 2020, arXiv:2006.11239, section 3.2."""

    def coefficients(self, alpha: Array, sigma: Array) -> tuple[Array, Array, Array]:
        return jnp.zeros_like(alpha), jnp.ones_like(alpha), jnp.ones_like(alpha)


@dataclass(frozen=True)
class V:
    """F = v = alpha eps - sigma x_0: x_0 = (alpha x_t - sigma F) / (alpha^2 + sigma^2).

    Salimans & Ho 2022, arXiv:2202.00512, section 4.
    """

    def coefficients(self, alpha: Array, sigma: Array) -> tuple[Array, Array, Array]:
        power = alpha**2 + sigma**2
        return alpha / power, -sigma / power, jnp.ones_like(alpha)


PREDICTIONS = {"eps": Eps, "x0": X0, "v": V}


@dataclass(frozen=True)
class Timestep:
    """label = t (T - 1): the 0-based index of the published level, in [0, T - 1]."""

    steps: int = 1000

    def __call__(self, schedule, t: Array) -> Array:
        return jnp.asarray(t, jnp.float32) * (self.steps - 1)


LABELS = {"timestep": Timestep}


def target(prediction: Prediction, alpha: Array, sigma: Array, x0: Array, eps: Array) -> Array:
    """The F that gives x0 back: (x_0 - c_skip x_t) / c_out, written in x_0 and eps.

    x0, eps: (B, ...); alpha, sigma: () or (B,).
    """
    skip, out, _ = prediction.coefficients(alpha, sigma)
    return expand((1 - skip * alpha) / out, x0) * x0 - expand(skip * sigma / out, x0) * eps


def apply(net: Net, params, schedule, prediction, label, x_t: Array, t: Array, cond=None) -> Array:
    """The raw network output F(c_in x_t, label(t)) for x_t (B, ...) and t (B,)."""
    _, _, c_in = prediction.coefficients(schedule.alpha(t), schedule.sigma(t))
    return net(params, expand(c_in, x_t) * x_t, label(schedule, t), cond)


def denoiser(net: Net, params, schedule, prediction, label, cond=None) -> Denoise:
    """The denoiser of a trained network: (x_t, t) -> Estimate(c_skip x_t + c_out F)."""

    def denoise(x_t: Array, t: Array) -> Estimate:
        t = jnp.broadcast_to(t, x_t.shape[:1])
        skip, out, _ = prediction.coefficients(schedule.alpha(t), schedule.sigma(t))
        f = apply(net, params, schedule, prediction, label, x_t, t, cond)
        return Estimate(expand(skip, x_t) * x_t + expand(out, x_t) * f)

    return denoise
