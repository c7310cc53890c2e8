"""Loss weightings, independent of what the network predicts.

A weighting is a factor on the squared error of x_0, w(t) |x0_hat - x_0|^2. The same factor on
another output follows from its c_out, since |x0_hat - x_0|^2 = c_out^2 |F - target|^2: on eps it is
w / SNR, on v (variance-preserving) w / (SNR + 1).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import Times
from ddm_jax.diffusion.predictions import PREDICTIONS, Prediction
from ddm_jax.diffusion.schedules.base import Rates


@dataclass(frozen=True)
class Simple:
    """The plain squared error of `space`, a row of PREDICTIONS: w = 1 / c_out^2.

    "own" is the space that the network itself predicts in; with eps it is L_simple of Ho et al.
    2020, arXiv:2006.11239, eq. 14.
    """

    space: str = "own"

    def __post_init__(self):
        if self.space not in ("own", *PREDICTIONS):
            raise ValueError(f"space is 'own' or one of {', '.join(PREDICTIONS)}")

    def on_x0(self, schedule: Rates, prediction: Prediction, t: Times) -> Array:
        space = prediction if self.space == "own" else PREDICTIONS[self.space]()
        _, out, _ = space.coefficients(schedule.alpha(t), schedule.sigma(t))
        return 1 / out**2


@dataclass(frozen=True)
class MinSNR:
    """w = min(SNR, gamma). Hang et al. 2023, arXiv:2303.09556."""

    gamma: float = 5.0

    def on_x0(self, schedule: Rates, prediction: Prediction, t: Times) -> Array:
        return jnp.minimum(jnp.exp(schedule.logsnr(t)), self.gamma)


@dataclass(frozen=True)
class SoftMinSNR:
    """w = SNR gamma / (SNR + gamma), the smooth minimum. Crowson et al. 2024, arXiv:2401.11605."""

    gamma: float = 4.0

    def on_x0(self, schedule: Rates, prediction: Prediction, t: Times) -> Array:
        return self.gamma * jax.nn.sigmoid(schedule.logsnr(t) - jnp.log(self.gamma))


@dataclass(frozen=True)
class P2:
    """w = SNR / (k + SNR)^gamma, on eps 1 / (k + SNR)^gamma. Choi et al. 2022, arXiv:2204.00227."""

    gamma: float = 1.0
    k: float = 1.0

    def on_x0(self, schedule: Rates, prediction: Prediction, t: Times) -> Array:
        logsnr = schedule.logsnr(t)
        return jnp.exp(logsnr - self.gamma * jnp.logaddexp(jnp.log(self.k), logsnr))


@dataclass(frozen=True)
class EDMWeight:
    """w = (s^2 + d^2) / (s d)^2 with s = sigma / alpha, d = sigma_data: 1 on EDM's own output.

    Karras et al. 2022, arXiv:2206.00364, table 1.
    """

    sigma_data: float = 0.5

    def on_x0(self, schedule: Rates, prediction: Prediction, t: Times) -> Array:
        return jnp.exp(schedule.logsnr(t)) + 1 / self.sigma_data**2


@dataclass(frozen=True)
class SigmoidWeight:
    """w = SNR sigmoid(bias - logsnr), on eps sigmoid(bias - logsnr).

    Kingma & Gao 2023, arXiv:2303.00848; Hoogeboom et al. 2024, arXiv:2410.19324.
    """

    bias: float = -1.0

    def on_x0(self, schedule: Rates, prediction: Prediction, t: Times) -> Array:
        logsnr = schedule.logsnr(t)
        return jnp.exp(logsnr + jax.nn.log_sigmoid(self.bias - logsnr))


@dataclass(frozen=True)
class Likelihood:
    """w = -1/2 d SNR / dt: the variational bound, in nats per element, when t is uniform.

    Kingma et al. 2021, arXiv:2107.00630, eq. 17; on eps it is g^2 / (2 sigma^2).
    """

    def on_x0(self, schedule: Rates, prediction: Prediction, t: Times) -> Array:
        logsnr, slope = jax.jvp(schedule.logsnr, (t,), (jnp.ones_like(t),))
        return -0.5 * jnp.exp(logsnr) * slope


WEIGHTINGS = {
    "simple": Simple,
    "min_snr": MinSNR,
    "soft_min_snr": SoftMinSNR,
    "p2": P2,
    "edm": EDMWeight,
    "sigmoid": SigmoidWeight,
    "likelihood": Likelihood,
}
