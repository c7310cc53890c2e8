"""Samplers that also walk within a noise level: predictor and Langevin corrector."""

from dataclasses import dataclass

import jax.numpy as jnp

from ddm_jax.diffusion.arrays import Keys, T, X, expand, fold_in, length, normal_like
from ddm_jax.diffusion.process import Denoise, forward_kernel, reverse_kernel, score_of
from ddm_jax.diffusion.samplers.base import Memory, Sampler, check_among
from ddm_jax.diffusion.samplers.history import over
from ddm_jax.diffusion.schedules.base import Schedule

# Below this number of elements an example's own norms say little of their averages.
FEW = 64


@dataclass(frozen=True)
class PredictorCorrector(Sampler):
    """A step to s, then `corrector_steps` of annealed Langevin dynamics at s.

    The predictor is "reverse_diffusion", x_s = (2 - F) x_t + G^2 score + G z with F = alpha_t /
    alpha_s and G^2 the variance of q(x_t | x_s), or "ancestral", DDPM with the small variance.
    The corrector is x + e score + sqrt(2 e) z, e = 2 a (snr |z| / |score|)^2 with a = F^2, the
    1 - beta of the step, and the norms of each example (the authors' code takes their means over
    the batch). The variance at which it settles is too large by at most a snr^2.

    A step size that follows the score of its own example pulls towards places where the score is
    small, which shows in few dimensions. So examples of fewer than 64 elements take the averages
    over all noise, |z|^2 = d and |score|^2 = d / sigma_s^2: e = 2 a (snr sigma_s)^2.
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

    def step(
        self, denoise: Denoise, schedule: Schedule, x_t: X, *, t: T, s: T, key: Keys, memory: Memory
    ) -> tuple[X, Memory]:
        x_s = self._predict(denoise, schedule, x_t, t, s=s, key=fold_in(key, 0))
        a, sigma_s = (schedule.alpha(t) / schedule.alpha(s)) ** 2, schedule.sigma(s)
        for k in range(self.corrector_steps):
            z = normal_like(fold_in(key, k + 1), x_s)
            score = score_of(schedule, x_s, denoise(x_s, s).x0, s)
            # At little noise the score of smooth data can round to 0, which says no step size.
            ratio = sigma_s if x_s[0].size < FEW else over(length(z), length(score))
            e = expand(2 * a * (self.snr * ratio) ** 2, x_s)
            x_s = x_s + e * score + jnp.sqrt(2 * e) * z
        return x_s, memory

    def _predict(self, denoise: Denoise, schedule: Schedule, x_t: X, t: T, *, s: T, key: Keys) -> X:
        """x_s of the predictor."""
        estimate, z = denoise(x_t, t), normal_like(key, x_t)
        if self.predictor == "ancestral":
            mean, log_variance = reverse_kernel(schedule, estimate, x_t, t=t, s=s, variance="small")
            return mean + jnp.exp(0.5 * log_variance) * z
        f, _, g2 = (expand(a, x_t) for a in forward_kernel(schedule, s, t))
        score = score_of(schedule, x_t, estimate.x0, t)
        return (2 - f) * x_t + g2 * score + jnp.sqrt(g2) * z


LANGEVIN = {"predictor_corrector": PredictorCorrector}
