"""Exact likelihood through the probability-flow ODE, with an estimated or exact divergence.

The ODE is that of process.probability_flow, in u = x_t / sqrt(alpha^2 + sigma^2) over half log-SNR
l = log(alpha / sigma). u stays of the size of the data and each octave of noise gets the same
number of steps, so a fixed step serves all times; at both ends u is the data or standard normal
noise.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ddm_jax.diffusion.arrays import Keys, PerExample, X, fold_in
from ddm_jax.diffusion.process import Denoise, probability_flow
from ddm_jax.diffusion.schedules.base import Schedule, signal_rate

TRACES = ("rademacher", "normal", "exact")


def log_prob(
    denoise: Denoise,
    schedule: Schedule,
    x0: X,
    key: Keys,
    *,
    steps: int = 50,
    trace: str = "rademacher",
    probes: int = 1,
) -> PerExample:
    """log p(x0) of the ODE's own density, in nats, float32 (B,), for x0 (B, ...).

    log p(u_0) = log N(u_1; 0, I) + int tr(df/du) dl from the data's end to the noise's, with u, l
    and du/dl = f as above: `steps` steps of the classical Runge-Kutta method, four calls of the
    denoiser each. The trace is Hutchinson's mean of e^T (df/du) e over `probes` directions e of
    independent signs ("rademacher") or of normal numbers ("normal"), the same at all times, or
    the sum over all d axes ("exact"), which costs d derivatives.

    x0 stands for x at t = 0 without its noise: what is integrated starts at alpha(0) x0, so p is
    the density of x_0 + (sigma(0) / alpha(0)) eps. It is the data's own only where that noise is
    small against the data's detail. key: () or one an example (B,). Song et al. 2021,
    arXiv:2011.13456, section 4.3; Chen et al. 2018, arXiv:1806.07366; Grathwohl et al. 2018,
    arXiv:1810.01367.
    """
    directions = _directions(trace, x0, key, probes)
    share = 1.0 if trace == "exact" else 1 / probes
    start, end = 0.5 * schedule.logsnr(jnp.array([0.0, 1.0]))

    def rate(u: Array, half: Array) -> tuple[Array, Array]:
        """(du/dl, its divergence (B,))."""
        slope, push = jax.linearize(lambda v: probability_flow(denoise, schedule, v, half), u)

        def along(e: Array) -> Array:
            return _sums(e * push(jnp.broadcast_to(e, u.shape)))

        return slope, share * jax.lax.map(along, directions).sum(0)

    def step(
        state: tuple[Array, Array], pair: tuple[Array, Array]
    ) -> tuple[tuple[Array, Array], None]:
        at, to = pair
        return _runge_kutta(rate, *state, at, h=to - at), None

    grid = jnp.linspace(start, end, steps + 1)
    state = (signal_rate(2 * start) * x0, jnp.zeros(len(x0)))
    (u, change), _ = jax.lax.scan(step, state, (grid[:-1], grid[1:]))
    size = x0[0].size
    of_noise = -0.5 * (_sums(u**2) + size * jnp.log(2 * jnp.pi))
    return of_noise + change - 0.5 * size * jax.nn.softplus(-2 * start)


def _runge_kutta(
    rate: Callable[[Array, Array], tuple[Array, Array]],
    u: Array,
    change: Array,
    at: Array,
    *,
    h: Array,
) -> tuple[Array, Array]:
    """One classical step of order 4 for u and for the integral of the divergence."""
    k1, d1 = rate(u, at)
    k2, d2 = rate(u + 0.5 * h * k1, at + 0.5 * h)
    k3, d3 = rate(u + 0.5 * h * k2, at + 0.5 * h)
    k4, d4 = rate(u + h * k3, at + h)
    return u + h / 6 * (k1 + 2 * (k2 + k3) + k4), change + h / 6 * (d1 + 2 * (d2 + d3) + d4)


def _sums(a: X) -> PerExample:
    """(B, ...) -> (B,)."""
    return a.reshape(a.shape[0], -1).sum(1)


def _directions(trace: str, x: Array, key: Array, probes: int) -> Array:
    """(n, B or 1, ...) along which derivatives are taken."""
    if trace == "exact":
        return jnp.eye(x[0].size).reshape(-1, 1, *x.shape[1:])
    if trace not in TRACES:
        raise ValueError(f"trace is one of {', '.join(TRACES)}, not {trace!r}")
    draw = jax.random.rademacher if trace == "rademacher" else jax.random.normal
    shape = (probes, *x.shape[1:])
    drawn = jax.vmap(lambda k: draw(k, shape, dtype=jnp.float32))(_own_keys(key, x))
    return jnp.moveaxis(drawn, 1, 0)


def _own_keys(key: Array, x: Array) -> Array:
    """One key an example, (B,), of keys () or (B,)."""
    return fold_in(key, jnp.arange(len(x))) if key.ndim == 0 else key


def dequantise(x0: X, key: Keys, *, low: ArrayLike, high: ArrayLike, levels: int = 256) -> X:
    """x0 + (u - 1/2) (high - low) / (levels - 1), u ~ U(0, 1): uniform over each value's bin.

    Theis et al. 2016, arXiv:1511.01844, section 3.1. key: () or one an example (B,).
    """
    width = (jnp.asarray(high) - low) / (levels - 1)
    u = jax.vmap(lambda k: jax.random.uniform(k, x0.shape[1:]))(_own_keys(key, x0))
    return x0 + (u - 0.5) * width


def ode_bits(
    denoise: Denoise,
    schedule: Schedule,
    x0: Array,
    key: Array,
    *,
    low: ArrayLike,
    high: ArrayLike,
    levels: int = 256,
    **options: Any,
) -> Array:
    """-log2 p(x) / d - log2(bin), float32 (B,): bits per element of x0 on `levels` values.

    x is x0 dequantised once, bin = (high - low) / (levels - 1), and its mean bounds -log2 of the
    probability of the values from above. low, high: () or for the last axis; `options` are
    those of `log_prob`.
    """
    x = dequantise(x0, fold_in(key, 0), low=low, high=high, levels=levels)
    nats = log_prob(denoise, schedule, x, fold_in(key, 1), **options)
    width = jnp.broadcast_to((jnp.asarray(high) - low) / (levels - 1), x0.shape[-1:])
    return -(nats / x0[0].size + jnp.log(width).mean()) / jnp.log(2.0)
