"""What the network predicts and what it is told of the noise: rows of coefficients.

x0_hat = c_skip x_t + c_out F(c_in x_t, noise_cond(t)); everything else (targets, losses, denoisers)
follows from the three coefficients. Form of Karras et al. 2022, arXiv:2206.00364, eq. 7.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import T, X, expand
from ddm_jax.diffusion.conditions import NO_CONTEXT, Context
from ddm_jax.diffusion.noise_conds import NoiseCond
from ddm_jax.diffusion.process import Denoise, Estimate
from ddm_jax.diffusion.schedules.base import Rates


@runtime_checkable
class Net(Protocol):
    """A network F; with dropout keys (B,) it trains, each example with a mask of its own."""

    def __call__(
        self, params: Any, x: Array, noise_cond: Array, context: Context, *, keys: Array | None
    ) -> Array:
        """x: (B, ..., C); noise_cond: (B,); -> (B, ..., C or 2 C)."""
        ...


@runtime_checkable
class Prediction(Protocol):
    """Coefficients of a parameterisation, elementwise in alpha and sigma."""

    def coefficients(self, alpha: T, sigma: T) -> tuple[T, T, T]:
        """(c_skip, c_out, c_in)."""
        ...


@dataclass(frozen=True)
class Eps:
    """F = eps: x_0 = (x_t - sigma F) / alpha. Ho et al. 2020, arXiv:2006.11239, eq. 11."""

    def coefficients(self, alpha: T, sigma: T) -> tuple[T, T, T]:
        return 1 / alpha, -sigma / alpha, jnp.ones_like(alpha)


@dataclass(frozen=True)
class X0:
    """F = x_0. Ho et al. 2020, arXiv:2006.11239, section 3.2."""

    def coefficients(self, alpha: T, sigma: T) -> tuple[T, T, T]:
        return jnp.zeros_like(alpha), jnp.ones_like(alpha), jnp.ones_like(alpha)


@dataclass(frozen=True)
class V:
    """F = v = alpha eps - sigma x_0: x_0 = (alpha x_t - sigma F) / (alpha^2 + sigma^2).

    Salimans & Ho 2022, arXiv:2202.00512, section 4.
    """

    def coefficients(self, alpha: T, sigma: T) -> tuple[T, T, T]:
        power = alpha**2 + sigma**2
        return alpha / power, -sigma / power, jnp.ones_like(alpha)


@dataclass(frozen=True)
class Score:
    """F = score of the marginal = -eps / sigma: x_0 = (x_t + sigma^2 F) / alpha.

    Song et al. 2021, arXiv:2011.13456.
    """

    def coefficients(self, alpha: T, sigma: T) -> tuple[T, T, T]:
        return 1 / alpha, sigma**2 / alpha, jnp.ones_like(alpha)


@dataclass(frozen=True)
class Velocity:
    """F = eps - x_0, dx_t/dt of the straight path: x_0 = (x_t - sigma F) / (alpha + sigma).

    Liu et al. 2022, arXiv:2209.03003; Lipman et al. 2022, arXiv:2210.02747.
    """

    def coefficients(self, alpha: T, sigma: T) -> tuple[T, T, T]:
        total = alpha + sigma
        return 1 / total, -sigma / total, jnp.ones_like(alpha)


@dataclass(frozen=True)
class EDM:
    """Unit variance for the input and the target of F, for data of deviation sigma_data.

    On x_t / alpha with noise s = sigma / alpha: c_skip = d^2 / (s^2 + d^2),
    c_out = s d / sqrt(s^2 + d^2), c_in = 1 / sqrt(s^2 + d^2), d = sigma_data.
    Karras et al. 2022, arXiv:2206.00364, table 1.
    """

    sigma_data: float = 0.5

    def __post_init__(self):
        if self.sigma_data <= 0:
            raise ValueError("needs sigma_data > 0")

    def coefficients(self, alpha: T, sigma: T) -> tuple[T, T, T]:
        power = sigma**2 + (alpha * self.sigma_data) ** 2
        return (
            alpha * self.sigma_data**2 / power,
            sigma * self.sigma_data / jnp.sqrt(power),
            1 / jnp.sqrt(power),
        )


PREDICTIONS = {"eps": Eps, "x0": X0, "v": V, "score": Score, "velocity": Velocity, "edm": EDM}


def target(prediction: Prediction, alpha: T, sigma: T, *, x0: X, eps: X) -> X:
    """The F that gives x0 back: (x_0 - c_skip x_t) / c_out, written in x_0 and eps.

    x0, eps: (B, ...); alpha, sigma: () or (B,).
    """
    skip, out, _ = prediction.coefficients(alpha, sigma)
    return expand((1 - skip * alpha) / out, x0) * x0 - expand(skip * sigma / out, x0) * eps


def split(f: Array, x: Array) -> tuple[Array, Array | None]:
    """(F, variance mix) of a raw output f (B, ..., C or 2 C) for x (B, ..., C).

    The second half of 2 C channels is v, and the mix (v + 1) / 2, as in the code of Nichol &
    Dhariwal 2021, arXiv:2102.09672; with C channels there is no mix.
    """
    channels = x.shape[-1]
    if f.shape[-1] == channels:
        return f, None
    return f[..., :channels], 0.5 * (f[..., channels:] + 1)


class Parameterisation(NamedTuple):
    """How an estimate of x_0 follows from a network: its rates, coefficients and noise_cond."""

    schedule: Rates
    prediction: Prediction
    noise_cond: NoiseCond


class Output(NamedTuple):
    """What a network says at x_t: its F (B, ..., C), and the estimate that follows from it."""

    f: Array
    estimate: Estimate


def predict(
    net: Net,
    params: Any,
    parameterisation: Parameterisation,
    x_t: X,
    *,
    t: T,
    context: Context = NO_CONTEXT,
    keys: Array | None = None,
    s: T | None = None,
) -> Output:
    """x0_hat = c_skip x_t + c_out F(c_in x_t, noise_cond(t)): where coefficients meet a network.

    x_t: (B, ...); t: () or (B,); keys: (B,) of each example's dropout where the network is
    trained; s: () or (B,), the second time that a network of two times is told, by the gap
    noise_cond(t) - noise_cond(s). Computed in the precision of x_t.
    """
    schedule, prediction, noise_cond = parameterisation
    t = jnp.broadcast_to(t, x_t.shape[:1])
    if s is not None:
        end = noise_cond(schedule, jnp.broadcast_to(s, t.shape))
        context = context._replace(gap=noise_cond(schedule, t) - end)
    skip, out, c_in = prediction.coefficients(schedule.alpha(t), schedule.sigma(t))
    raw = net(params, expand(c_in, x_t) * x_t, noise_cond(schedule, t), context, keys=keys)
    f, mix = split(raw.astype(x_t.dtype), x_t)
    return Output(f, Estimate(expand(skip, x_t) * x_t + expand(out, x_t) * f, mix))


def denoiser(
    net: Net,
    params: Any,
    parameterisation: Parameterisation,
    context: Context = NO_CONTEXT,
    *,
    two_times: bool = False,
) -> Denoise:
    """The denoiser of a network, in a context that is embedded already.

    A network of one time ignores s; one of two times is told t in its place where it is not given.
    """

    def denoise(x_t: X, t: T, s: T | None = None) -> Estimate:
        told = (t if s is None else s) if two_times else None
        return predict(net, params, parameterisation, x_t, t=t, context=context, s=told).estimate

    return denoise
