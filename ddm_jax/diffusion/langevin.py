"""Samplers that also walk within a noise level: predictor and Langevin corrector."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.core import (
    Denoise,
    Schedule,
    expand,
    fold_in,
    forward_kernel,
    noise_of,
    normal_like,
    reverse_kernel,
)
from ddm_jax.diffusion.steps import Sampler, check_among, over


@dataclass(frozen=True)
class PredictorCorrector(Sampler):
    """A step to s, then `corrector_steps` of annealed Langevin dynamics at s.

    The predictor is "reverse_diffusion", x_s = (2 - F) x_t + G^2 score + G z with F = alpha_t /
    alpha_s and G^2 the variance of q(x_t | x_s), or "ancestral", DDPM with the small variance.
    The corrector is x + e score + sqrt(2 e) z, e = 2 a (snr |z| / |score|)^2 with the norms of
    each example (the authors' code takes their means over the batch) and a = F^2, the 1 - beta of
    the step. Its stationary variance is too large by snr^2, in few dimensions by more.
    Song et al. 2021, arXiv:2011.13456, algorithms 2 to 5, appendices E to G.
    """

    snr: float = 0.16
    corrector_steps: int = 1
    predictor: str = "reverse_diffusion"

    def __post_init__(self):
        check_among("predictor", self.predictor, ("reverse_diffusion", "ancestral"))
        if not (self.snr > 0 and self.corrector_steps >= 0):
            raise ValueError("needs snr > 0 and corrector_steps >= 0")

    @property
    def evaluations(self) -> int:
        return 1 + self.corrector_steps

    def step(self, denoise, schedule, x, t, s, key, memory):
        x = self._predict(denoise, schedule, x, t, s, fold_in(key, 0))
        size = (schedule.alpha(t) / schedule.alpha(s)) ** 2
        for k in range(self.corrector_steps):
            z, score = normal_like(fold_in(key, k + 1), x), _score(denoise, schedule, x, s)
            # At little noise the score of smooth data can round to 0, which says no step size.
            e = expand(2 * size * (self.snr * over(_norm(z), _norm(score))) ** 2, x)
            x = x + e * score + jnp.sqrt(2 * e) * z
        return x, memory

    def _predict(self, denoise: Denoise, schedule: Schedule, x, t, s, key) -> Array:
        z = normal_like(key, x)
        if self.predictor == "ancestral":
            mean, log_variance = reverse_kernel(schedule, denoise(x, t), x, t, s, "small")
            return mean + jnp.exp(0.5 * log_variance) * z
        q = forward_kernel(schedule, s, t)
        score = _score(denoise, schedule, x, t)
        return (2 - q.of_x) * x + q.variance * score + jnp.sqrt(q.variance) * z


def _score(denoise: Denoise, schedule: Schedule, x: Array, t: Array) -> Array:
    """-eps_hat / sigma, the gradient of log p_t."""
    return -noise_of(schedule, x, denoise(x, t).x0, t) / schedule.sigma(t)


def _norm(x: Array) -> Array:
    """The length of each example, (B,)."""
    return jnp.sqrt((x.reshape(len(x), -1) ** 2).sum(1))


LANGEVIN = {"predictor_corrector": PredictorCorrector}
