"""The table of ways to guide: denoisers made of a denoiser and of what else is given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array

from ddm_jax.diffusion.arrays import OfTimes, T, Times, X, expand
from ddm_jax.diffusion.combining import Both, beside, combine, extrapolate, rescale, within
from ddm_jax.diffusion.process import Denoise, Estimate
from ddm_jax.diffusion.schedules.base import Rates, Schedule

LogProb = Callable[[Array, Array], Array]  # (x (B, ...), t (B,)) -> log p(y | x) (B,)


class Judge(NamedTuple):
    """A classifier of noised examples: its schedule, and its logarithm of the asked class."""

    schedule: Schedule
    log_prob: LogProb


class Given(NamedTuple):
    """What a guidance may use beside the denoiser that it guides, None for what there is not.

    null: the model without its condition, or under the one that is to be avoided; reference:
    another run's model under the same condition; judge: another run's classifier, asked for the
    same classes; both: the guided denoiser and `null` in one call of the network.
    """

    schedule: Rates
    null: Denoise | None = None
    reference: Denoise | None = None
    judge: Judge | None = None
    both: Both | None = None


@runtime_checkable
class Guidance(Protocol):
    """A way to guide: a denoiser and what else is given, to a denoiser."""

    @property
    def asks(self) -> str | None:
        """The field of Given, beside the schedule, that it uses; None for none."""
        ...

    def guide(self, denoise: Denoise, given: Given) -> Denoise: ...


@dataclass(frozen=True)
class NoGuidance:
    """The model as it is, under its condition."""

    asks = None

    def guide(self, denoise: Denoise, given: Given) -> Denoise:
        return denoise


@dataclass(frozen=True)
class ClassifierFree:
    """Away from the model without its condition: x0 = u + scale (c - u), at times in [low, high].

    scale 1 is the conditional model, 0 the unconditional one. rescale: see the function; parallel
    and norm: see `extrapolate`. Ho & Salimans 2022, arXiv:2207.12598; the interval: Kynkaanniemi et
    al. 2024, arXiv:2404.07724.
    """

    scale: float = 1.5
    low: float = 0.0
    high: float = 1.0
    rescale: float = 0.0
    parallel: float = 1.0
    norm: float = 0.0

    asks = "null"

    def __post_init__(self):
        _check_interval(self.low, self.high)
        for name in ("rescale", "parallel"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} lies in [0, 1], not {getattr(self, name)}")
        if self.norm < 0:
            raise ValueError(f"norm is the largest length, or 0 for any, not {self.norm}")

    def guide(self, denoise: Denoise, given: Given) -> Denoise:
        assert given.null is not None
        if self.scale == 1.0:
            return denoise
        if self.scale == 0.0 and not (self.rescale or self.norm) and self.parallel == 1.0:
            return within(self.low, self.high, given.null, denoise)
        both = given.both or beside(denoise, given.null)

        def guided(x_t: X, t: T, s: T | None = None) -> Estimate:
            c, u = both(x_t, t, s)
            x0 = extrapolate(c.x0, u.x0, self.scale, parallel=self.parallel, norm=self.norm)
            return c._replace(x0=rescale(x0, c.x0, self.rescale))

        return within(self.low, self.high, guided, denoise)


@dataclass(frozen=True)
class AutoGuidance:
    """Away from a worse model, a smaller or less trained run: x0 = u + scale (c - u).

    c is the model and u the run's, both under the asked condition and at one log-SNR. Karras et al.
    2024, arXiv:2406.02507.
    """

    run: str = ""
    scale: float = 2.0
    low: float = 0.0
    high: float = 1.0

    asks = "reference"

    def __post_init__(self):
        _check_interval(self.low, self.high)

    def guide(self, denoise: Denoise, given: Given) -> Denoise:
        assert given.reference is not None
        return within(self.low, self.high, combine(denoise, given.reference, self.scale), denoise)


@dataclass(frozen=True)
class ClassifierGuidance:
    """Uphill on a classifier of noised examples: x0 = x0_hat + scale sigma^2 / alpha g.

    g is the gradient of log p(y | x_t) at x_t, which is added to the score; a conditional model's
    own condition stays. Dhariwal & Nichol 2021, arXiv:2105.05233, section 4; Song et al. 2021,
    arXiv:2011.13456, eq. 14.
    """

    run: str = ""
    scale: float = 1.0
    low: float = 0.0
    high: float = 1.0

    asks = "judge"

    def __post_init__(self):
        _check_interval(self.low, self.high)

    def guide(self, denoise: Denoise, given: Given) -> Denoise:
        assert given.judge is not None
        schedule, judge = given.schedule, given.judge

        def guided(x_t: X, t: T, s: T | None = None) -> Estimate:
            estimate = denoise(x_t, t, s)
            push = uphill(schedule, judge, x_t, t)
            gain = self.scale * schedule.sigma(t) ** 2 / schedule.alpha(t)
            return estimate._replace(x0=estimate.x0 + expand(gain, x_t) * push)

        return within(self.low, self.high, guided, denoise)


def meet(ours: Rates, theirs: Schedule, t: Times) -> tuple[OfTimes, OfTimes]:
    """(u, ratio): their time of the log-SNR that ours has at t, and x_u / x_t there.

    ratio = alpha_theirs(u) / alpha_ours(t), taken of the larger rates, where it loses no digits.
    Where theirs never has that log-SNR, u is its nearer end.
    """
    logsnr = ours.logsnr(t)
    most, least = theirs.logsnr(jnp.array([0.0, 1.0]))
    u = jnp.clip(theirs.time(jnp.clip(logsnr, least, most)), 0.0, 1.0)
    of_signal, of_noise = theirs.alpha(u) / ours.alpha(t), theirs.sigma(u) / ours.sigma(t)
    return u, jnp.where(logsnr > 0, of_signal, of_noise)


def uphill(schedule: Rates, judge: Judge, x_t: X, t: T) -> X:
    """The gradient (B, ...) at x_t of the judge's log p(y | x_t), t: () or (B,).

    The judge is asked at the same log-SNR of its own schedule. Where x_t has less noise than it
    ever saw it is asked at its least noise; where x_t has more, classes cannot be told apart and
    the gradient is 0.
    """
    t = jnp.broadcast_to(t, x_t.shape[:1])
    u, ratio = meet(schedule, judge.schedule, t)
    push = jax.grad(lambda x: judge.log_prob(expand(ratio, x) * x, u).sum())(x_t)
    least = judge.schedule.logsnr(jnp.ones(()))
    seen = schedule.logsnr(t) >= least - 1e-3 * abs(least)
    return jnp.where(expand(seen, x_t), push, 0.0)


def at_the_same_noise(denoise: Denoise, theirs: Schedule, ours: Rates) -> Denoise:
    """A denoiser made for the schedule `theirs`, for x_t of the schedule `ours`."""

    def moved(x_t: X, t: T, s: T | None = None) -> Estimate:
        u, ratio = meet(ours, theirs, t)
        return denoise(expand(ratio, x_t) * x_t, u, None if s is None else meet(ours, theirs, s)[0])

    return moved


def _check_interval(low: float, high: float) -> None:
    if not 0 <= low < high <= 1:
        raise ValueError(f"guides at times low <= t <= high within [0, 1], not {low} to {high}")


GUIDANCES = {
    "none": NoGuidance,
    "classifier_free": ClassifierFree,
    "auto": AutoGuidance,
    "classifier": ClassifierGuidance,
}
