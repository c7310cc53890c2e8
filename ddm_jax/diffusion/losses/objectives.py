"""What training minimises: the loss of one example, noised and seen by the network."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.diffusion.likelihood.vlb import bits, decoder_term, kl_term, prior_term
from ddm_jax.diffusion.losses.noised import Draw, Problem, Seen, look, weighted_error
from ddm_jax.diffusion.losses.vdm import VDM
from ddm_jax.diffusion.process import VARIANCES
from ddm_jax.diffusion.schedules.base import Schedule


class Objective(Protocol):
    """A loss; one with a `learned` variance needs a network with twice the output channels."""

    @property
    def learned(self) -> bool:
        """Whether the network predicts its variance too."""

    def loss(self, problem: Problem, params, schedule: Schedule, draw: Draw) -> Array:
        """The loss (B,) of the network with these parameters."""


@dataclass(frozen=True)
class Weighted:
    """error(sqrt(w) (x0_hat - x_0)), by default w |x0_hat - x_0|^2: the weighting's loss."""

    @property
    def learned(self) -> bool:
        return False

    def loss(self, problem: Problem, params, schedule: Schedule, draw: Draw) -> Array:
        seen = look(problem, params, schedule, draw)
        return weighted_error(problem, schedule, draw.t, seen)


@dataclass(frozen=True)
class VLB:
    """The variational bound of a chain of `steps` levels, in bits per element.

    T L_i + L_prior at level i: the KL of the step down from it, or the decoder at the lowest. With
    `variance` "learned" the network learns the variance too. Times must be levels. Ho et al. 2020,
    arXiv:2006.11239, eq. 5; Nichol & Dhariwal 2021, arXiv:2102.09672, L_vlb.
    """

    steps: int = 1000
    variance: str = "learned"

    unit: ClassVar[str] = "bits per element"

    def __post_init__(self):
        _check_chain(self.steps)
        if self.variance not in VARIANCES:
            raise ValueError(f"variance is one of {', '.join(VARIANCES)}, not {self.variance!r}")

    @property
    def learned(self) -> bool:
        return self.variance == "learned"

    def loss(self, problem: Problem, params, schedule: Schedule, draw: Draw) -> Array:
        seen = look(problem, params, schedule, draw)
        terms = chain_term(problem, schedule, draw, seen, self.steps, self.variance)
        return self.steps * terms + bits(prior_term(schedule, draw.x0))


@dataclass(frozen=True)
class Hybrid:
    """L_simple + scale L_vlb, where L_vlb trains the learned variance only: its mean is held.

    L_vlb is that of VLB without the prior, L_simple the weighting's loss. Times must be levels.
    Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 16.
    """

    steps: int = 1000
    scale: float = 0.001

    def __post_init__(self):
        _check_chain(self.steps)

    @property
    def learned(self) -> bool:
        return True

    def loss(self, problem: Problem, params, schedule: Schedule, draw: Draw) -> Array:
        seen = look(problem, params, schedule, draw)
        held = seen.estimate._replace(x0=jax.lax.stop_gradient(seen.estimate.x0))
        terms = chain_term(
            problem, schedule, draw, seen._replace(estimate=held), self.steps, "learned"
        )
        simple = weighted_error(problem, schedule, draw.t, seen)
        return simple + self.scale * self.steps * terms


def _check_chain(steps: int) -> None:
    if steps < 2:
        raise ValueError(f"steps={steps}: a chain has at least 2 levels")


def chain_term(
    problem: Problem, schedule: Schedule, draw: Draw, seen: Seen, steps: int, variance: str
) -> Array:
    """The bound's term at the level of t, in bits per element (B,): KL, or the decoder at t = 0."""
    level = jnp.round(draw.t * (steps - 1))
    upper = jnp.maximum(level, 1.0)
    t, s = upper / (steps - 1), (upper - 1) / (steps - 1)
    kl = kl_term(schedule, seen.estimate, draw.x0, seen.x_t, t, s, variance)
    values = problem.values
    last = decoder_term(schedule, seen.estimate, draw.x0, s, t, variance, *values)
    return jnp.where(level == 0, bits(last), bits(kl))


@dataclass(frozen=True)
class Uncertainty:
    """e^-u L + u, L the weighting's loss and u a learned function of log-SNR.

    At its best u is the logarithm of the expected L, which takes every noise level to the same
    size. It is linear in `features` Fourier features of -logsnr / 8, with frequencies N(0, 1) and
    uniform phases, and starts at 0. Karras et al. 2023, arXiv:2312.02696.
    """

    features: int = 128

    def __post_init__(self):
        if self.features < 1:
            raise ValueError("needs features >= 1")

    @property
    def learned(self) -> bool:
        return False

    def init_params(self, key: Array) -> Array:
        return jnp.zeros((self.features,))

    def with_params(self, params: Array) -> "Balanced":
        return Balanced(params)

    def loss(self, problem: Problem, params, schedule: Schedule, draw: Draw) -> Array:
        return Balanced(jnp.zeros((self.features,))).loss(problem, params, schedule, draw)


@dataclass(frozen=True)
class Balanced:
    """Uncertainty with its parameters (features,)."""

    params: Array

    def log_loss(self, logsnr: Array) -> Array:
        """u at log-SNRs (B,) -> (B,)."""
        rng = np.random.default_rng(0)
        count = len(self.params)
        rate = 2 * np.pi * rng.standard_normal(count).astype(np.float32)
        phase = 2 * np.pi * rng.random(count, np.float32)
        waves = jnp.cos(-logsnr[:, None] / 8 * rate + phase)
        return waves @ self.params * np.sqrt(2 / count)

    def loss(self, problem: Problem, params, schedule: Schedule, draw: Draw) -> Array:
        seen = look(problem, params, schedule, draw)
        u = self.log_loss(schedule.logsnr(draw.t))
        return jnp.exp(-u) * weighted_error(problem, schedule, draw.t, seen) + u


OBJECTIVES = {
    "weighted": Weighted,
    "vlb": VLB,
    "hybrid": Hybrid,
    "vdm": VDM,
    "uncertainty": Uncertainty,
}
