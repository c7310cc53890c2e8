"""Schedules of continuous time that are given by their log-SNR or by a stochastic differential
equation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.diffusion.arrays import OfTimes, Times, real
from ddm_jax.diffusion.schedules.base import Fixed
from ddm_jax.diffusion.schedules.curve import Curve
from ddm_jax.diffusion.schedules.ends import check_noisy_end, check_range, check_signal


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
        super().__post_init__()
        check_range(self.min_logsnr, self.max_logsnr)
        check_noisy_end(2.0, self.ends()[1], self.max_logsnr - self.min_logsnr)
        check_signal(self.min_logsnr + self.shift)

    def curve(self, u: OfTimes, rest: OfTimes) -> OfTimes:
        return 2 * jnp.log(jnp.sin(jnp.pi / 2 * rest) / jnp.sin(jnp.pi / 2 * u)) + self.shift

    def inverse(self, logsnr: OfTimes) -> tuple[OfTimes, OfTimes]:
        half = 0.5 * (logsnr - self.shift)
        return 2 / jnp.pi * jnp.arctan(jnp.exp(-half)), 2 / jnp.pi * jnp.arctan(jnp.exp(half))

    def ends(self) -> tuple[float, float]:
        def place(half: float) -> float:
            return float(2 / np.pi * np.arctan(np.exp(half)))

        return place(-0.5 * self.max_logsnr), place(0.5 * self.min_logsnr)


@dataclass(frozen=True)
class Sigmoid(Curve):
    """abar = (S(end) - S(v)) / (S(end) - S(start)), v = start + u (end - start), S: sigmoid(./tau).

    By S(a) - S(b) = sinh((a - b)/2) / (2 cosh(a/2) cosh(b/2)) the odds abar / (1 - abar) are
    sinh(h (1 - u)) / sinh(h u), h = (end - start) / (2 tau), times a constant, and
    u = softplus(log(e^2h - 1) - softplus(log odds + h)) / 2h: no digits are lost, and 1 - u has
    the same form with the odds inverted. Jabri et al. 2022, arXiv:2212.11972; cut to
    [min_logsnr, max_logsnr].
    """

    start: float = -3.0
    end: float = 3.0
    tau: float = 1.0
    min_logsnr: float = -12.0
    max_logsnr: float = 15.0

    def __post_init__(self):
        super().__post_init__()
        check_range(self.min_logsnr, self.max_logsnr)
        if not (self.start < self.end and self.tau > 0):
            raise ValueError("needs start < end and tau > 0")
        check_noisy_end(1.0, self.ends()[1], self.max_logsnr - self.min_logsnr)

    def _half(self) -> float:
        return (self.end - self.start) / self.tau / 2

    def _offset(self) -> float:
        at_start, at_end = self.start / self.tau / 2, self.end / self.tau / 2
        return float(np.logaddexp(at_start, -at_start) - np.logaddexp(at_end, -at_end))

    def curve(self, u: OfTimes, rest: OfTimes) -> OfTimes:
        h = self._half()
        ratio = jnp.expm1(-2 * h * rest) / jnp.expm1(-2 * h * u)
        return h * (rest - u) + jnp.log(ratio) + self._offset()

    def _place(self, log_odds: Any, softplus: Callable[[Any], Any]) -> Any:
        """u of the logarithm of sinh(h (1 - u)) / sinh(h u)."""
        h = self._half()
        top = 2 * h + np.log(-np.expm1(-2 * h))
        return softplus(top - softplus(log_odds + h)) / (2 * h)

    def inverse(self, logsnr: OfTimes) -> tuple[OfTimes, OfTimes]:
        log_odds = logsnr - self._offset()
        return self._place(log_odds, jax.nn.softplus), self._place(-log_odds, jax.nn.softplus)

    def ends(self) -> tuple[float, float]:
        def softplus(a: float) -> np.floating:
            return np.logaddexp(0.0, a)

        high, low = self.max_logsnr - self._offset(), self.min_logsnr - self._offset()
        return float(self._place(high, softplus)), float(self._place(-low, softplus))


@dataclass(frozen=True)
class Laplace(Curve):
    """Log-SNR follows a Laplace distribution of mean mu and scale b when u is uniform.

    logsnr = mu - b log(2 u) up to the middle and mu + b log(2 (1 - u)) beyond, cut to
    [min_logsnr, max_logsnr]. Hang & Gu 2024, arXiv:2407.03297.
    """

    mu: float = 0.0
    b: float = 0.5
    min_logsnr: float = -5.0
    max_logsnr: float = 5.0

    def __post_init__(self):
        super().__post_init__()
        check_range(self.min_logsnr, self.max_logsnr)
        if self.b <= 0:
            raise ValueError("needs b > 0")
        if not self.min_logsnr < self.mu < self.max_logsnr:
            raise ValueError(f"mu={self.mu} must lie between min_logsnr and max_logsnr")
        check_noisy_end(self.b, self.ends()[1], self.max_logsnr - self.min_logsnr)

    def curve(self, u: OfTimes, rest: OfTimes) -> OfTimes:
        return self.mu + self.b * jnp.where(u < rest, -jnp.log(2 * u), jnp.log(2 * rest))

    def inverse(self, logsnr: OfTimes) -> tuple[OfTimes, OfTimes]:
        z = (logsnr - self.mu) / self.b
        tail = 0.5 * jnp.exp(-abs(z))
        return jnp.where(z > 0, tail, 1 - tail), jnp.where(z > 0, 1 - tail, tail)

    def ends(self) -> tuple[float, float]:
        high, low = self.max_logsnr - self.mu, self.min_logsnr - self.mu
        return 0.5 * float(np.exp(-high / self.b)), 0.5 * float(np.exp(low / self.b))


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
        super().__post_init__()
        _check_betas(self.beta_min, self.beta_max, self.epsilon)

    def curve(self, u: OfTimes, rest: OfTimes) -> OfTimes:
        b = _integral(self.beta_min, self.beta_max, u)
        return -b - jnp.log(-jnp.expm1(-b))

    def inverse(self, logsnr: OfTimes) -> tuple[OfTimes, OfTimes]:
        u = _of_integral(self.beta_min, self.beta_max, jax.nn.softplus(-logsnr))
        return u, 1 - u

    def ends(self) -> tuple[float, float]:
        return self.epsilon, 0.0


@dataclass(frozen=True)
class SubVP(Fixed):
    """alpha = exp(-B/2), sigma = 1 - exp(-B), with the B of VP.

    Its variance is below VP's at every time. Song et al. 2021, arXiv:2011.13456.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    epsilon: float = 1e-3

    def __post_init__(self):
        super().__post_init__()
        _check_betas(self.beta_min, self.beta_max, self.epsilon)

    def _b(self, t: Times) -> OfTimes:
        u = self.epsilon + real(t) * (1 - self.epsilon)
        return _integral(self.beta_min, self.beta_max, u)

    def alpha(self, t: Times) -> OfTimes:
        return jnp.exp(-0.5 * self._b(t))

    def sigma(self, t: Times) -> OfTimes:
        return -jnp.expm1(-self._b(t))

    def logsnr(self, t: Times) -> OfTimes:
        return -self._b(t) - 2 * jnp.log(self.sigma(t))

    def time(self, logsnr: OfTimes) -> OfTimes:
        # alpha / (1 - alpha^2) = r means -log(alpha) = asinh(1 / (2 r)).
        b = 2 * jnp.arcsinh(0.5 * jnp.exp(-0.5 * logsnr))
        return (_of_integral(self.beta_min, self.beta_max, b) - self.epsilon) / (1 - self.epsilon)


def _check_betas(beta_min: float, beta_max: float, epsilon: float) -> None:
    if not (0 < beta_min <= beta_max and 0 < epsilon < 1):
        raise ValueError("needs 0 < beta_min <= beta_max and 0 < epsilon < 1")
    check_signal(-0.5 * (beta_min + beta_max))


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
