"""What samplers share: their contract, the exact linear part of a step, and what multistep needs.

With l = log(alpha / sigma), half the log-SNR, and y = x / alpha, r = sigma / alpha = e^-l, every
schedule has the same probability-flow ODE: dy/dr = eps_hat, or dy/dl = x0_hat - y. Karras et al.
2022, arXiv:2206.00364, eq. 4; Lu et al. 2022, arXiv:2211.01095, eq. 8. Steps are written in x and
x0_hat with coefficients from h = l_s - l_t, because y loses its digits where alpha is small.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.diffusion.core import Denoise, Schedule, expand, normal_like

Memory = Any  # a pytree that the sampler carries from step to step


class Sampler(ABC):
    """One step from x at time t to the next time s < t, and what can be said of it.

    convergence: the published order of convergence of a deterministic sampler, infinite where it
    solves to a tolerance on any grid; None where it draws noise. evaluations: of the denoiser in
    one step, None where they vary. estimate: what the denoiser must give, "mean" for E[x_0 | x_t]
    or "end" for the end of x_t's path along the probability flow.
    """

    convergence: ClassVar[float | None] = None
    evaluations: ClassVar[int | None] = 1
    estimate: ClassVar[str] = "mean"

    def init(self, x: Array) -> Memory:
        """What is remembered before the first step."""
        return ()

    @abstractmethod
    def step(
        self,
        denoise: Denoise,
        schedule: Schedule,
        x: Array,
        t: Array,
        s: Array,
        key: Array,
        memory: Memory,
    ) -> tuple[Array, Memory]:
        """x (B, ...) at s <= t; t, s and key are () or one for each example, (B,).

        A step of no length, s = t, leaves x finite.
        """


def check_eta(eta: float) -> None:
    """ValueError unless eta lies in [0, 1]."""
    if not 0 <= eta <= 1:
        raise ValueError(f"eta lies in [0, 1], not {eta}")


def check_among(what: str, value: Any, allowed: Sequence) -> None:
    """ValueError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{what} is one of {', '.join(map(str, allowed))}, not {value!r}")


def half_step(schedule: Schedule, t: Array, s: Array, x: Array) -> Array:
    """h = l_s - l_t, the step in half log-SNR, shaped to multiply x (B, ...); t, s: () or (B,)."""
    return expand(0.5 * (schedule.logsnr(s) - schedule.logsnr(t)), x)


def exponential_step(
    schedule: Schedule, x: Array, x0: Array, t: Array, s: Array, eta: float = 0.0, key=None
) -> Array:
    """(sigma_s / sigma_t) e^(-eta h) x + alpha_s (1 - e^-(1 + eta) h) x0 + spread z.

    The ODE (eta = 0) or the SDE solved exactly for an x_0 that does not change from t to s;
    spread = sigma_s sqrt(1 - e^(-2 eta h)). Lu et al. 2022, arXiv:2211.01095, eq. 9 and 18.
    """
    h, alpha_s, sigma_s = half_step(schedule, t, s, x), schedule.alpha(s), schedule.sigma(s)
    decay = expand(sigma_s / schedule.sigma(t), x) * jnp.exp(-eta * h)
    mean = decay * x - expand(alpha_s, x) * jnp.expm1(-(1 + eta) * h) * x0
    if eta == 0:
        return mean
    spread = expand(sigma_s, x) * jnp.sqrt(-jnp.expm1(-2 * eta * h))
    return mean + spread * normal_like(key, x)


def turn(schedule: Schedule, more: Array, t: Array, s: Array) -> Array:
    """alpha_s (r_s - r_t) more: what x_s gains where the mean dy/dr exceeds that at t by `more`."""
    h = half_step(schedule, t, s, more)
    return -expand(schedule.sigma(s), more) * jnp.expm1(h) * more


class History(NamedTuple):
    """Values at times behind, newest first, and the number of those that are there yet.

    Times and the number are () or one for each example, (B,).
    """

    values: tuple[Array, ...]
    times: tuple[Array, ...]
    count: Array

    def push(self, value: Array, t: Array) -> "History":
        """`value` at time t in front; the oldest is forgotten."""
        length = len(self.values)
        if length == 0:
            return self
        count = jnp.minimum(self.count + 1, length)
        return History((value, *self.values[:-1]), (t, *self.times[:-1]), count)


def no_history(x: Array, length: int) -> History:
    """Room for `length` values of x's shape."""
    nothing = jnp.zeros((), x.dtype)
    return History((jnp.zeros_like(x),) * length, (nothing,) * length, jnp.zeros((), jnp.int32))


def _rule(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1] of Gauss-Legendre in v, u = v^2 (3 - 2 v).

    They crowd at both ends, where the curve of a schedule over t can be as steep as a root.
    """
    v, weights = np.polynomial.legendre.leggauss(count)
    v, weights = 0.5 * v + 0.5, 0.5 * weights
    return v**2 * (3 - 2 * v), weights * 6 * v * (1 - v)


# No digits are lost in quadrature where the closed forms subtract near equals.
_NODES, _WEIGHTS = _rule(64)


def excess(
    values: Sequence[Array],
    places: Sequence[Array],
    count: Array,
    share: Callable[[np.ndarray], Array],
) -> Array:
    """E[P(u)] - values[0] for the polynomial P through `values` (B, ...) at `places`.

    u in [0, 1] has the distribution function `share`, which is asked for nodes (n, 1, ...). Places
    are shaped to multiply the values, and places[0] is 0. Only the first 1 + count values are used,
    count () or (B,). P stands in Newton's form, whose terms are all positive where the other places
    are negative; E[u^k] = 1 - k int u^(k-1) share(u) du.
    """
    along = (-1,) + (1,) * values[0].ndim
    nodes, weights = _NODES.reshape(along), _WEIGHTS.reshape(along)
    shares = weights * share(nodes)
    moments = [1.0] + [1 - k * (shares * nodes ** (k - 1)).sum(0) for k in range(1, len(values))]
    row, basis, total = list(values), [1.0], jnp.zeros_like(values[0])
    for k in range(1, len(values)):
        # Divided differences of order k, and the coefficients of (u - u_0) .. (u - u_k-1).
        row = [over(row[i + 1] - row[i], places[i + k] - places[i]) for i in range(len(row) - 1)]
        raised, scaled = [0.0, *basis], [*(places[k - 1] * b for b in basis), 0.0]
        basis = [high - low for high, low in zip(raised, scaled, strict=True)]
        weight = sum(b * m for b, m in zip(basis, moments[: k + 1], strict=True))
        total = total + jnp.where(expand(count, total) >= k, weight * row[0], 0.0)
    return total


def over(a: Array, b: Array) -> Array:
    """a / b, and 0 where b = 0: before there is a history, and in a step of no length."""
    return jnp.where(b == 0, 0.0, a / jnp.where(b == 0, 1.0, b))
