"""What multistep samplers share: values remembered, and the mean of the polynomial through them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.diffusion.arrays import expand


class History(NamedTuple):
    """Values at times behind, newest first, and the number of those that are there yet.

    Times and the number are () or one for each example, (B,).
    """

    values: tuple[Array, ...]
    times: tuple[Array, ...]
    known: Array

    def push(self, value: Array, t: Array) -> "History":
        """`value` at time t in front; the oldest is forgotten."""
        length = len(self.values)
        if length == 0:
            return self
        known = jnp.minimum(self.known + 1, length)
        return History((value, *self.values[:-1]), (t, *self.times[:-1]), known)


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
    share: Callable[[np.ndarray], Array | np.ndarray],
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
