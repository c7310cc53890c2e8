"""What multistep samplers remember, and the polynomial through it."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ddm_jax.diffusion.arrays import expand


class History(NamedTuple):
    """Values at times behind, newest first, and the number of those that are there yet.

    Times and the number are () or one for each example, (B,).
    """

    values: tuple[Array, ...]
    times: tuple[ArrayLike, ...]
    known: Array

    def push(self, value: Array, t: ArrayLike) -> "History":
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


def excess(
    values: Sequence[Array], places: Sequence[Array], known: Array, moments: Sequence[ArrayLike]
) -> Array:
    """int (P(u) - P(0)) w(u) du for the polynomial P through `values` (B, ...) at `places`.

    P stands in Newton's form with divided differences, sum_k P[u_0 .. u_k] (u - u_0) .. (u -
    u_(k-1)), whose terms are all positive where the places behind are negative. `moments` are
    int u^k w(u) du for k = 1, 2, ..., one for each value but the first. They and the places are
    shaped to multiply the values; places[0] is 0. Only the first 1 + known values are used, known
    () or (B,).
    """
    row, basis, total = list(values), [1.0], jnp.zeros_like(values[0])
    for k in range(1, len(values)):
        # Divided differences of order k, and the coefficients of (u - u_0) .. (u - u_k-1).
        row = [over(row[i + 1] - row[i], places[i + k] - places[i]) for i in range(len(row) - 1)]
        raised, scaled = [0.0, *basis], [*(places[k - 1] * b for b in basis), 0.0]
        basis = [high - low for high, low in zip(raised, scaled, strict=True)]
        weight = sum(b * m for b, m in zip(basis[1:], moments[:k], strict=True))
        total = total + jnp.where(expand(known, total) >= k, weight * row[0], 0.0)
    return total


def phi(n: int, z: Array) -> Array:
    """phi_n(z) = int_0^1 e^((1 - u) z) u^(n - 1) / (n - 1)! du, the functions of exponential rules.

    phi_1 = (e^z - 1) / z and phi_(n+1) = (phi_n - 1 / n!) / z, which lose their digits at small z;
    the integral loses none. Hochbruck & Ostermann 2010, doi:10.1017/S0962492910000048, eq. 2.10.
    """
    u, weights = nodes(z)
    power = u ** (n - 1) / float(np.prod(np.arange(1, n)))
    return (weights * power * jnp.exp((1 - u) * z)).sum(0)


def nodes(like: Array) -> tuple[np.ndarray, np.ndarray]:
    """Nodes u and weights (n, 1, ...) of a quadrature over [0, 1], for values of `like`'s rank."""
    along = (-1,) + (1,) * like.ndim
    u, weights = _rule(64)
    return u.reshape(along), weights.reshape(along)


@functools.cache
def _rule(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1] of Gauss-Legendre in v, u = v^2 (3 - 2 v).

    They crowd at both ends, where the curve of a schedule over t can be as steep as a root.
    """
    v, weights = np.polynomial.legendre.leggauss(count)
    v, weights = 0.5 * v + 0.5, 0.5 * weights
    return v**2 * (3 - 2 * v), weights * 6 * v * (1 - v)


def over(a: ArrayLike, b: ArrayLike) -> Array:
    """a / b, and 0 where b = 0: before there is a history, and in a step of no length."""
    return jnp.where(b == 0, 0.0, a / jnp.where(b == 0, 1.0, b))
