"""The one loop that drives every sampler, forwards and backwards, and where it starts.

n times cost n evaluations of a one-step sampler: n - 1 steps from time to time, then one last call
of the denoiser at the least noisy time, whose estimate of x_0 is the sample. So no sampler has a
special case at the end, and one step works.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from ddm_jax.diffusion.arrays import Grid, Keys, T, X, expand, fold_in, normal_like, real
from ddm_jax.diffusion.process import Denoise, marginal_scale
from ddm_jax.diffusion.samplers.base import Memory, Sampler
from ddm_jax.diffusion.schedules.base import Rates, Schedule


def integrate(
    denoise: Denoise, schedule: Schedule, sampler: Sampler, times: Grid, *, x: X, key: Keys
) -> X:
    """x at times[0] -> x at times[-1], one `lax.scan` over the pairs (times[k], times[k + 1]).

    times: (n,) decreasing, or (n, B) for times of each example's own; a time that comes twice in
    turn changes nothing. key: () or one an example (B,), folded with k for step k.
    """
    return _walk(denoise, schedule, sampler, times, x=x, key=key, keep=lambda x: None)[0]


def trajectory(
    denoise: Denoise, schedule: Schedule, sampler: Sampler, times: Grid, *, x: X, key: Keys
) -> Float[Array, "n b *d"]:
    """x at every one of the times, (n, B, ...): the path whose end is `integrate`'s."""
    _, path = _walk(denoise, schedule, sampler, times, x=x, key=key, keep=lambda x: x)
    return jnp.concatenate([x[None], path])


def _walk(
    denoise: Denoise,
    schedule: Schedule,
    sampler: Sampler,
    times: Grid,
    *,
    x: X,
    key: Keys,
    keep: Callable[[Array], Any],
) -> tuple[Array, Any]:
    """(x at times[-1], keep(x) at times[1:] stacked)."""
    times, memory = jnp.asarray(times), sampler.init(x)
    moved = times[1:] != times[:-1]

    def body(
        carry: tuple[Array, Memory], pair: tuple[Array, Array, Array]
    ) -> tuple[tuple[Array, Memory], Any]:
        t, s, k = pair
        after = sampler.step(
            denoise, schedule, carry[0], t=t, s=s, key=fold_in(key, k), memory=carry[1]
        )
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


def invert(
    denoise: Denoise, schedule: Schedule, sampler: Sampler, times: Grid, *, x: X, key: Keys
) -> X:
    """x at times[-1] -> the x at times[0] that leads there: the grid walked backwards.

    For deterministic samplers; exact in the limit of many steps. Song et al. 2020,
    arXiv:2010.02502, section 4.3.
    """
    return integrate(denoise, schedule, sampler, jnp.asarray(times)[::-1], x=x, key=key)


def sample(
    denoise: Denoise, schedule: Schedule, sampler: Sampler, times: Grid, *, x: X, key: Keys
) -> X:
    """The sample x0_hat (B, ...) reached from x at times[0]: integrate, then denoise to s = 0."""
    x, last = integrate(denoise, schedule, sampler, times, x=x, key=key), jnp.asarray(times)[-1]
    return denoise(x, last, jnp.zeros_like(last)).x0


def prior(schedule: Rates, key: Keys, x: X, t: T | float = 1.0) -> X:
    """Start noise of x's shape: N(0, alpha(t)^2 + sigma(t)^2), x_t's variance for unit data.

    t is the first time of the grid. For variance-preserving schedules this is N(0, I).
    """
    return marginal_scale(schedule, real(t)) * normal_like(key, x)
