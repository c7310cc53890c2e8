"""Samplers as (init, step) pairs with explicit memory, and the one loop that drives them.

A sampler sees a denoiser and a schedule, never a network. n times cost n evaluations: n - 1 steps
from time to time, then one last call of the denoiser at the least noisy time, whose estimate of
x_0 is the sample. So no sampler has a special case at the end, and one step works.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.adaptive import ADAPTIVE
from ddm_jax.diffusion.core import (
    VARIANCES,
    Denoise,
    Estimate,
    diffuse,
    expand,
    fold_in,
    noise_of,
    normal_like,
    real,
    reverse_kernel,
)
from ddm_jax.diffusion.exponential import EXPONENTIAL
from ddm_jax.diffusion.langevin import LANGEVIN
from ddm_jax.diffusion.multistep import MULTISTEP
from ddm_jax.diffusion.solvers import SOLVERS
from ddm_jax.diffusion.steps import Sampler, check_among, check_eta


@dataclass(frozen=True)
class DDPM(Sampler):
    """Ancestral sampling: x_s ~ N(posterior mean at x0_hat, variance), as core.reverse_kernel says.

    `variance` is "small", "large" or "learned". Ho et al. 2020, arXiv:2006.11239, section 3.2 and
    algorithm 2; Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 15.
    """

    variance: str = "small"

    def __post_init__(self):
        check_among("variance", self.variance, VARIANCES)

    def step(self, denoise, schedule, x, t, s, key, memory):
        mean, log_variance = reverse_kernel(schedule, denoise(x, t), x, t, s, self.variance)
        return mean + jnp.exp(0.5 * log_variance) * normal_like(key, x), memory


@dataclass(frozen=True)
class DDIM(Sampler):
    """x_s = alpha_s x0_hat + sqrt(sigma_s^2 - d^2) eps_hat + d z, d = eta sigma_s sqrt(1 - r).

    r = SNR_t / SNR_s, so d is eta times the posterior's deviation: eta = 0 is deterministic,
    eta = 1 is DDPM with the small variance. Song et al. 2020, arXiv:2010.02502, eq. 12 and 16.
    """

    eta: float = 0.0

    def __post_init__(self):
        check_eta(self.eta)

    @property
    def convergence(self) -> int | None:
        return None if self.eta else 1

    def step(self, denoise, schedule, x, t, s, key, memory):
        x0 = denoise(x, t).x0
        eps = noise_of(schedule, x, x0, t)
        gap = expand(-jnp.expm1(schedule.logsnr(t) - schedule.logsnr(s)), x)
        alpha_s, sigma_s = expand(schedule.alpha(s), x), expand(schedule.sigma(s), x)
        mean = alpha_s * x0 + sigma_s * jnp.sqrt(1 - self.eta**2 * gap) * eps
        if self.eta == 0:
            return mean, memory
        return mean + self.eta * sigma_s * jnp.sqrt(gap) * normal_like(key, x), memory


@dataclass(frozen=True)
class Consistency(Sampler):
    """x_s = alpha_s x0_hat + sigma_s z: the estimate, noised afresh to the next level.

    For a consistency model, whose estimate is the end of x_t's path. With alpha = 1 and a model
    that ends at the level epsilon, the published sqrt(sigma_s^2 - epsilon^2) takes the place of
    sigma_s; here paths end at x_0, where epsilon = 0. Song et al. 2023, arXiv:2303.01469,
    algorithm 1.
    """

    estimate = "end"

    def step(self, denoise, schedule, x, t, s, key, memory):
        return diffuse(schedule, denoise(x, t).x0, normal_like(key, x), s), memory


SAMPLERS = {
    "ddpm": DDPM,
    "ddim": DDIM,
    "consistency": Consistency,
    **SOLVERS,
    **MULTISTEP,
    **EXPONENTIAL,
    **LANGEVIN,
    **ADAPTIVE,
}


def clip_x0(denoise: Denoise, low: Array, high: Array) -> Denoise:
    """The denoiser whose x0_hat is clipped to the range of the data, per channel or overall.

    Samplers derive eps from x_t and x0_hat, so their eps follows the clipped estimate.
    """

    def clipped(x_t: Array, t: Array) -> Estimate:
        estimate = denoise(x_t, t)
        return estimate._replace(x0=jnp.clip(estimate.x0, low, high))

    return clipped


def clip_x0_dynamically(
    denoise: Denoise, low: Array, high: Array, percentile: float = 99.5
) -> Denoise:
    """The denoiser whose x0_hat is clipped at a percentile of its own size and scaled to the range.

    In units where the range is [-1, 1]: s = max(1, percentile of |x0_hat| over the example),
    x0 = clip(x0_hat, -s, s) / s. Saharia et al. 2022, arXiv:2205.11487, section 2.3.
    """
    middle, half = (low + high) / 2, (high - low) / 2

    def clipped(x_t: Array, t: Array) -> Estimate:
        estimate = denoise(x_t, t)
        unit = (estimate.x0 - middle) / half
        axes = tuple(range(1, unit.ndim))
        s = jnp.maximum(jnp.percentile(abs(unit), percentile, axis=axes, keepdims=True), 1.0)
        return estimate._replace(x0=middle + half * jnp.clip(unit, -s, s) / s)

    return clipped


CLIPS = {
    "none": lambda denoise, low, high: denoise,
    "static": clip_x0,
    "dynamic": clip_x0_dynamically,
}


def integrate(denoise: Denoise, schedule, sampler, times: Array, x: Array, key: Array) -> Array:
    """x at times[0] -> x at times[-1], one `lax.scan` over the pairs (times[k], times[k + 1]).

    times: (n,) decreasing, or (n, B) for times of each example's own; a time that comes twice in
    turn changes nothing. key: () or one an example (B,), folded with k for step k.
    """
    return _walk(denoise, schedule, sampler, times, x, key, lambda x: None)[0]


def trajectory(denoise: Denoise, schedule, sampler, times: Array, x: Array, key: Array) -> Array:
    """x at every one of the times, (n, B, ...): the path whose end is `integrate`'s."""
    _, path = _walk(denoise, schedule, sampler, times, x, key, lambda x: x)
    return jnp.concatenate([x[None], path])


def _walk(denoise, schedule, sampler, times, x, key, keep) -> tuple[Array, Any]:
    """(x at times[-1], keep(x) at times[1:] stacked)."""
    times, memory = jnp.asarray(times), sampler.init(x)
    moved = times[1:] != times[:-1]

    def body(carry, pair):
        t, s, k = pair
        after = sampler.step(denoise, schedule, carry[0], t, s, fold_in(key, k), carry[1])
        after = jax.tree.map(
            lambda old, new: jnp.where(expand(s == t, new), old, new), carry, after
        )
        return after, keep(after[0])

    pairs = (times[:-1], times[1:], jnp.cumsum(moved, 0) - moved)
    if times.ndim == 2:  # what is remembered of the times is then one for each example too
        first = (jax.ShapeDtypeStruct(a.shape[1:], a.dtype) for a in pairs)
        (_, after), _ = jax.eval_shape(body, (x, memory), tuple(first))
        memory = jax.tree.map(lambda m, like: jnp.broadcast_to(m, like.shape), memory, after)
    (x, _), kept = jax.lax.scan(body, (x, memory), pairs)
    return x, kept


def invert(denoise: Denoise, schedule, sampler, times: Array, x: Array, key: Array) -> Array:
    """x at times[-1] -> the x at times[0] that leads there: the grid walked backwards.

    For deterministic samplers; exact in the limit of many steps. Song et al. 2020,
    arXiv:2010.02502, section 4.3.
    """
    return integrate(denoise, schedule, sampler, jnp.asarray(times)[::-1], x, key)


def sample(denoise: Denoise, schedule, sampler, times: Array, x: Array, key: Array) -> Array:
    """The sample x0_hat (B, ...) reached from x at times[0]: integrate, then denoise once."""
    x = integrate(denoise, schedule, sampler, times, x, key)
    return denoise(x, jnp.asarray(times)[-1]).x0


def prior(schedule, key: Array, x: Array, t: Array | float = 1.0) -> Array:
    """Start noise of x's shape: N(0, alpha(t)^2 + sigma(t)^2), x_t's variance for unit data.

    t is the first time of the grid. For variance-preserving schedules this is N(0, I).
    """
    t = real(t)
    return jnp.sqrt(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2) * normal_like(key, x)
