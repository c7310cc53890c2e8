"""What is known to be wrong or dangerous in the task of a diffusion model.

Where it can, a rule asks the parts what they do (their rates, weights and coefficients) rather than
which they are, so that it judges new rows too; others go by a setting, as `variance`.
"""

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.config import jump_rules, lent_rules
from ddm_jax.config.findings import Finding, T, dangerous, wrong
from ddm_jax.diffusion.predictions import Prediction, V
from ddm_jax.diffusion.schedules.base import Schedule
from ddm_jax.tasks.diffusion import Diffusion

SIGNAL = 1e-3  # SNR that pure noise may be taken for
AMPLIFIED = 1e3  # how far an error of the network may be magnified in x0_hat
FILLED = 0.9  # share of the dimensions of noise that a network must reach to take it away
HALF = 2.0**-8  # between neighbours of bfloat16 just below 1


class Curves(NamedTuple):
    """What a model does at the times T: its rates and the coefficients of its prediction."""

    alpha: np.ndarray
    sigma: np.ndarray
    c_skip: np.ndarray
    c_out: np.ndarray
    c_in: np.ndarray


@functools.lru_cache(maxsize=8)
def curves(schedule: Schedule, prediction: Prediction) -> Curves:
    @jax.jit
    def evaluate() -> tuple[Array, ...]:
        rates = schedule.alpha(T), schedule.sigma(T)
        return *rates, *(jnp.broadcast_to(c, T.shape) for c in prediction.coefficients(*rates))

    return Curves(*map(np.asarray, evaluate()))


def division_by_alpha(task: Diffusion) -> Iterator[Finding]:
    seen = curves(task.model.schedule, task.model.prediction)
    gain = abs(seen.c_out[-1])
    if gain < AMPLIFIED * max(1.0, seen.sigma[-1]):
        return
    reason = f"x_0 is the network's error times {gain:,.0f} at t = 1"
    if task.model.schedule.zero_terminal:
        yield wrong(
            f"the schedule ends without signal and this prediction divides by alpha: {reason}; "
            "take prediction.name=v or x0"
        )
    elif task.generator.options.clip == "none":
        yield dangerous(f"{reason}; set sample.clip=static, or take prediction.name=v")


def untrained_end(task: Diffusion) -> Iterator[Finding]:
    if not task.model.schedule.zero_terminal:
        return
    weight = jax.jit(lambda: task.weighting.on_x0(task.model.schedule, task.model.prediction, T))()
    on_v = weight * curves(task.model.schedule, V()).c_out ** 2
    if on_v[-1] < 1e-4 * on_v.max():
        yield wrong(
            "this weighting gives no weight to t = 1, which zero_terminal makes the start of "
            "sampling; take weighting.name=simple with prediction.name=v, or zero_terminal=False"
        )


def signal_at_the_start(task: Diffusion) -> Iterator[Finding]:
    start = task.generator.timesteps.times(task.model.schedule, task.generator.grid_steps)[0]
    snr = np.exp(float(jax.jit(task.model.schedule.logsnr)(start)))
    if snr > SIGNAL:
        yield dangerous(
            f"sampling starts from pure noise at t = {start:.3g}, where {snr / (1 + snr):.1%} of "
            "the variance is still signal (SNR above 0.001), so brightness and contrast will be "
            "off; take a schedule that ends lower (scaled=True, more steps, zero_terminal) or a "
            "timesteps that start at t = 1"
        )
    elif task.model.schedule.zero_terminal and start < 1:
        yield dangerous(
            f"the grid starts at t = {start:.3g} and never asks the level without signal that "
            "zero_terminal adds; take timesteps.name=trailing"
        )


def learned_variance(task: Diffusion) -> Iterator[Finding]:
    if task.generator.sampler.asks_variance and not task.objective.learns_variance:
        yield wrong(
            "the sampler asks for a learned variance, which this objective does not train; take "
            "objective.name=hybrid, or variance=small"
        )


def drawn_times(task: Diffusion) -> np.ndarray:
    """The quantiles of the training times at T[1:-1]."""
    schedule, sampler = task.model.schedule, task.time_sampler
    return np.asarray(
        jax.jit(lambda: sampler.quantile(schedule, T[1:-1], sampler.init(schedule)))()
    )


def chain_of_levels(task: Diffusion) -> Iterator[Finding]:
    if not task.objective.chain:
        return
    count = task.model.schedule.num_timesteps
    level = drawn_times(task) * (count - 1)
    if abs(level - np.rint(level)).max() > 0.01:
        yield wrong(
            f"the objective is the bound of a chain of {count} levels, but training times are not "
            "drawn from them; take time_sampler.name=discrete or importance"
        )


def learned_schedule(task: Diffusion) -> Iterator[Finding]:
    trained = jax.eval_shape(task.model.schedule.init_params, jax.random.key(0))
    if jax.tree.leaves(trained) and not task.objective.continuous:
        yield wrong(
            "under this objective a learned schedule would make the loss easy, not low; take "
            "objective.name=vdm"
        )
    if task.objective.continuous and abs(drawn_times(task) - T[1:-1]).max() > 0.01:
        yield wrong(
            "objective.name=vdm is a bound for uniform times; take time_sampler.name=uniform"
        )


def scale_of_the_input(task: Diffusion) -> Iterator[Finding]:
    seen = curves(task.model.schedule, task.model.prediction)
    largest = (abs(seen.c_in) * np.sqrt(seen.alpha**2 + seen.sigma**2)).max()
    if largest > 4:
        yield dangerous(
            f"the network's input has a deviation of up to {largest:.3g}; take "
            "prediction.name=edm, which scales it to 1"
        )


def noise_through_a_narrow_network(task: Diffusion) -> Iterator[Finding]:
    """Clean data fill few dimensions, noise fills all: Li & He 2025, arXiv:2511.13720."""
    size = math.prod(task.model.shape)
    rank = task.model.net.rank(task.model.shape)
    seen = curves(task.model.schedule, task.model.prediction)
    noise = abs(seen.c_skip) * seen.sigma  # of the part of x_0 that c_out F has to give
    asked = (noise > abs(seen.c_out) / 2).any()  # F's own share of noise above a half
    if rank < FILLED * size and asked:
        yield dangerous(
            f"the network's outputs have {rank:,} degrees of freedom and this prediction asks them "
            f"for noise of {size:,}, so that samples stay noisy; take prediction.name=x0 with "
            "weighting.simple.space=v, a wider network or smaller patches"
        )


def noise_cond_in_half_precision(task: Diffusion) -> Iterator[Finding]:
    if task.model.net.dtype == "float32":
        return

    @jax.jit
    def told() -> Array:
        high, low = task.model.schedule.logsnr(jnp.array([0.0, 1.0]))
        times = task.model.schedule.time(jnp.linspace(high, low, 256))
        return task.model.noise_cond(task.model.schedule, times)

    close = (abs(np.diff(told())) < HALF).mean()
    if close > 0.25:
        yield dangerous(
            f"{close:.0%} of neighbouring noise levels have noise_conds that the embedding's half "
            "precision cannot tell apart; take noise_cond.name=logsnr, or a larger scale"
        )


def guidance(task: Diffusion) -> Iterator[Finding]:
    asks = task.generator.guidance.asks
    if asks == "null" and not task.model.condition.parts:
        yield wrong(
            "guidance.name=classifier_free needs a model with a condition; take "
            "condition.name=classes, or guidance.name=none"
        )
    elif asks == "null" and not task.draws.class_dropout:
        yield wrong(
            "guidance.name=classifier_free needs a null class, which loss.class_dropout=0 never "
            "trains; train with loss.class_dropout=0.1, or take guidance.name=none"
        )
    elif asks in ("reference", "judge") and asks not in task.lent:
        key = task.borrows[asks].key
        yield wrong(f"this guidance needs another run; name it with --config.{key}=runs/<its name>")


RULES = (
    guidance,
    *lent_rules.RULES,
    *jump_rules.RULES,
    learned_variance,
    chain_of_levels,
    learned_schedule,
    division_by_alpha,
    untrained_end,
    signal_at_the_start,
    scale_of_the_input,
    noise_through_a_narrow_network,
    noise_cond_in_half_precision,
)
