"""Schedules of continuous time that are given by their log-SNR or by a stochastic differential
equation.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


class Curve(ABC):
    """Variance-preserving schedule given by its log-SNR as a curve over its own time u.

    t in [0, 1] covers linearly the part of u that `ends` names; then
    alpha = sqrt(sigmoid(logsnr)), sigma = sqrt(sigmoid(-logsnr)).
    """

    @abstractmethod
    def curve(self, u: Array) -> Array:
        """Log-SNR at u, strictly decreasing."""

    @abstractmethod
    def inverse(self, logsnr: Array) -> Array:
        """The u of a log-SNR."""

    @abstractmethod
    def ends(self) -> tuple[Array, Array]:
        """The u of t = 0 and of t = 1."""

    def logsnr(self, t: Array) -> Array:
        start, end = self.ends()
        return self.curve(start + jnp.asarray(t, jnp.float32) * (end - start))

    def time(self, logsnr: Array) -> Array:
        start, end = self.ends()
        return (self.inverse(logsnr) - start) / (end - start)

    def alpha(self, t: Array) -> Array:
        return jnp.sqrt(jax.nn.sigmoid(self.logsnr(t)))

    def sigma(self, t: Array) -> Array:
        return jnp.sqrt(jax.nn.sigmoid(-self.logsnr(t)))


def _check_range(low: float, high: float) -> None:
    if not low < high:
        raise ValueError(f"min_logsnr={low} must be below max_logsnr={high}")


@dataclass(frozen=True)
class ContinuousCosine(Curve):
    """logsnr = -2 log tan(pi u / 2) + shift, cut to [min_logsnr, max_logsnr] before the shift.

    shift = 2 log(64 / d) for images of d pixels a side keeps the noise per coarse pixel that it has
    at 64. Hoogeboom et al. 2023, arXiv:2301.11093.
    """

    min_logsnr: float = -15.0
    max_logsnr: float = 15.0
    shift: float = 0.0

    def __post_init__(self):
        _check_range(self.min_logsnr, self.max_logsnr)

    def curve(self, u: Array) -> Array:
        return -2 * jnp.log(jnp.tan(jnp.pi / 2 * u)) + self.shift

    def inverse(self, logsnr: Array) -> Array:
        return 2 / jnp.pi * jnp.arctan(jnp.exp(-0.5 * (logsnr - self.shift)))

    def ends(self) -> tuple[Array, Array]:
        return tuple(self.inverse(jnp.array([self.max_logsnr, self.min_logsnr]) + self.shift))


@dataclass(frozen=True)
class Sigmoid(Curve):
    """abar = (S(end) - S(v)) / (S(end) - S(start)), v = start + u (end - start), S: sigmoid(./tau).

    Written with S(a) - S(b) = sinh((a - b)/2) / (2 cosh(a/2) cosh(b/2)), which loses no digits.
    Jabri et al. 2022, arXiv:2212.11972; cut to [min_logsnr, max_logsnr].
    """

    start: float = -3.0
    end: float = 3.0
    tau: float = 1.0
    min_logsnr: float = -15.0
    max_logsnr: float = 15.0

    def __post_init__(self):
        _check_range(self.min_logsnr, self.max_logsnr)
        if not (self.start < self.end and self.tau > 0):
            raise ValueError("needs start < end and tau > 0")

    def _offset(self) -> float:
        return float(np.log(np.cosh(self.start / self.tau / 2) / np.cosh(self.end / self.tau / 2)))

    def curve(self, u: Array) -> Array:
        half = (self.end - self.start) / self.tau / 2
        return jnp.log(jnp.sinh(half * (1 - u)) / jnp.sinh(half * u)) + self._offset()

    def inverse(self, logsnr: Array) -> Array:
        half = (self.end - self.start) / self.tau / 2
        ratio = jnp.exp(logsnr - self._offset())
        return jnp.arctanh(np.sinh(half) / (ratio + np.cosh(half))) / half

    def ends(self) -> tuple[Array, Array]:
        return tuple(self.inverse(jnp.array([self.max_logsnr, self.min_logsnr])))


@dataclass(frozen=True)
class Laplace(Curve):
    """Log-SNR follows a Laplace distribution of mean mu and scale b when u is uniform.

    logsnr = mu - b sign(u - 1/2) (-log(1 - 2 |u - 1/2|)), cut to [min_logsnr, max_logsnr].
    Hang & Gu 2024, arXiv:2407.03297.
    """

    mu: float = 0.0
    b: float = 0.5
    min_logsnr: float = -6.0
    max_logsnr: float = 6.0

    def __post_init__(self):
        _check_range(self.min_logsnr, self.max_logsnr)
        if self.b <= 0:
            raise ValueError("needs b > 0")

    def curve(self, u: Array) -> Array:
        tail = jnp.where(u < 0.5, u, 1 - u)
        return self.mu - self.b * jnp.sign(0.5 - u) * jnp.log(2 * tail)

    def inverse(self, logsnr: Array) -> Array:
        z = (logsnr - self.mu) / self.b
        tail = 0.5 * jnp.exp(-abs(z))
        return jnp.where(z > 0, tail, 1 - tail)

    def ends(self) -> tuple[Array, Array]:
        return tuple(self.inverse(jnp.array([self.max_logsnr, self.min_logsnr])))


@dataclass(frozen=True)
class VP(Curve):
    """d x = -beta(u)/2 x du + sqrt(beta(u)) dw, beta linear; u from epsilon to 1.

    alpha^2 = exp(-B), B = beta_min u + (beta_max - beta_min) u^2 / 2.
    Song et al. 2021, arXiv:2011.13456.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    epsilon: float = 1e-5

    def __post_init__(self):
        _check_betas(self.beta_min, self.beta_max, self.epsilon)

    def curve(self, u: Array) -> Array:
        return -jnp.log(jnp.expm1(_integral(self.beta_min, self.beta_max, u)))

    def inverse(self, logsnr: Array) -> Array:
        return _of_integral(self.beta_min, self.beta_max, jax.nn.softplus(-logsnr))

    def ends(self) -> tuple[Array, Array]:
        return jnp.float32(self.epsilon), jnp.float32(1.0)


@dataclass(frozen=True)
class SubVP:
    """alpha = exp(-B/2), sigma = 1 - exp(-B), with the B of VP.

    Its variance is below VP's at every time. Song et al. 2021, arXiv:2011.13456.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    epsilon: float = 1e-3

    def __post_init__(self):
        _check_betas(self.beta_min, self.beta_max, self.epsilon)

    def _b(self, t: Array) -> Array:
        u = self.epsilon + jnp.asarray(t, jnp.float32) * (1 - self.epsilon)
        return _integral(self.beta_min, self.beta_max, u)

    def alpha(self, t: Array) -> Array:
        return jnp.exp(-0.5 * self._b(t))

    def sigma(self, t: Array) -> Array:
        return -jnp.expm1(-self._b(t))

    def logsnr(self, t: Array) -> Array:
        return -self._b(t) - 2 * jnp.log(self.sigma(t))

    def time(self, logsnr: Array) -> Array:
        # alpha / (1 - alpha^2) = r means -log(alpha) = asinh(1 / (2 r)).
        b = 2 * jnp.arcsinh(0.5 * jnp.exp(-0.5 * logsnr))
        return (_of_integral(self.beta_min, self.beta_max, b) - self.epsilon) / (1 - self.epsilon)


def _check_betas(beta_min: float, beta_max: float, epsilon: float) -> None:
    if not (0 < beta_min <= beta_max and 0 < epsilon < 1):
        raise ValueError("needs 0 < beta_min <= beta_max and 0 < epsilon < 1")


def _integral(low: float, high: float, u: Array) -> Array:
    """B(u) = low u + (high - low) u^2 / 2."""
    return low * u + 0.5 * (high - low) * u**2


def _of_integral(low: float, high: float, b: Array) -> Array:
    """The u at which B(u) = b."""
    return 2 * b / (low + jnp.sqrt(low**2 + 2 * (high - low) * b))


CONTINUOUS = {
    "continuous_cosine": ContinuousCosine,
    "sigmoid": Sigmoid,
    "laplace": Laplace,
    "vp": VP,
    "sub_vp": SubVP,
}
