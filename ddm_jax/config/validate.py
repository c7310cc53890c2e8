"""What is known to be wrong or dangerous in a recipe: refused or warned of, with the reason.

A rule looks at an assembled recipe and yields findings. Where it can, it asks the parts what they
do (their rates, weights and coefficients) rather than which they are, so that it judges new rows
too; others go by a setting, as `variance`, or by the name of the data.
"""

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddm_jax.config.fits import check_fit
from ddm_jax.diffusion.predictions import Prediction, V
from ddm_jax.diffusion.schedules.base import Schedule
from ddm_jax.errors import UserError

if TYPE_CHECKING:
    from ddm_jax.recipe import Recipe

SIGNAL = 1e-3  # SNR that pure noise may be taken for
AMPLIFIED = 1e3  # how far an error of the network may be magnified in x0_hat
HALF = 2.0**-8  # between neighbours of bfloat16 just below 1
T = np.linspace(0, 1, 101, dtype=np.float32)


class Finding(NamedTuple):
    """One line; a fatal one refuses the recipe."""

    fatal: bool
    text: str


def wrong(text: str) -> Finding:
    return Finding(True, text)


def dangerous(text: str) -> Finding:
    return Finding(False, text)


class Curves(NamedTuple):
    """What a recipe does at the times T: its rates and the coefficients of its prediction."""

    alpha: np.ndarray
    sigma: np.ndarray
    c_skip: np.ndarray
    c_out: np.ndarray
    c_in: np.ndarray


@functools.lru_cache(maxsize=8)
def curves(schedule: Schedule, prediction: Prediction) -> Curves:
    @jax.jit
    def evaluate():
        rates = schedule.alpha(T), schedule.sigma(T)
        return *rates, *(jnp.broadcast_to(c, T.shape) for c in prediction.coefficients(*rates))

    return Curves(*map(np.asarray, evaluate()))


def division_by_alpha(recipe: "Recipe") -> Iterator[Finding]:
    seen = curves(recipe.schedule, recipe.prediction)
    gain = abs(seen.c_out[-1])
    if gain < AMPLIFIED * max(1.0, seen.sigma[-1]):
        return
    reason = f"x_0 is the network's error times {gain:,.0f} at t = 1"
    if recipe.schedule.zero_terminal:
        yield wrong(
            f"the schedule ends without signal and this prediction divides by alpha: {reason}; "
            "take prediction.name=v or x0"
        )
    elif recipe.sample.clip == "none":
        yield dangerous(f"{reason}; set sample.clip=static, or take prediction.name=v")


def untrained_end(recipe: "Recipe") -> Iterator[Finding]:
    if not recipe.schedule.zero_terminal:
        return
    weight = jax.jit(lambda: recipe.weighting.on_x0(recipe.schedule, recipe.prediction, T))()
    on_v = weight * curves(recipe.schedule, V()).c_out ** 2
    if on_v[-1] < 1e-4 * on_v.max():
        yield wrong(
            "this weighting gives no weight to t = 1, which zero_terminal makes the start of "
            "sampling; take weighting.name=simple with prediction.name=v, or zero_terminal=False"
        )


def signal_at_the_start(recipe: "Recipe") -> Iterator[Finding]:
    start = recipe.timesteps.times(recipe.schedule, recipe.grid_steps)[0]
    snr = np.exp(float(jax.jit(recipe.schedule.logsnr)(start)))
    if snr > SIGNAL:
        yield dangerous(
            f"sampling starts from pure noise at t = {start:.3g}, where {snr / (1 + snr):.1%} of "
            "the variance is still signal (SNR above 0.001), so brightness and contrast will be "
            "off; take a schedule that ends lower (scaled=True, more steps, zero_terminal) or a "
            "timesteps that start at t = 1"
        )
    elif recipe.schedule.zero_terminal and start < 1:
        yield dangerous(
            f"the grid starts at t = {start:.3g} and never asks the level without signal that "
            "zero_terminal adds; take timesteps.name=trailing"
        )


def ends_of_paths(recipe: "Recipe") -> Iterator[Finding]:
    if recipe.sampler.estimate == "end":  # while every objective trains the mean
        yield dangerous(
            "this sampler takes the network's estimate for the end of x_t's path, which only a "
            "distilled network gives; objectives train the mean of x_0 given x_t, so samples are "
            "drawn to the mean of the data; take sampler.name=ddim, say, unless the network was "
            "distilled"
        )


def learned_variance(recipe: "Recipe") -> Iterator[Finding]:
    if recipe.sampler.asks_variance and not recipe.objective.learns_variance:
        yield wrong(
            "the sampler asks for a learned variance, which this objective does not train; take "
            "objective.name=hybrid, or variance=small"
        )


def drawn_times(recipe: "Recipe") -> np.ndarray:
    """The quantiles of the training times at T[1:-1]."""
    schedule, sampler = recipe.schedule, recipe.time_sampler
    return np.asarray(
        jax.jit(lambda: sampler.quantile(schedule, T[1:-1], sampler.init(schedule)))()
    )


def chain_of_levels(recipe: "Recipe") -> Iterator[Finding]:
    if not recipe.objective.chain:
        return
    count = recipe.schedule.num_timesteps
    level = drawn_times(recipe) * (count - 1)
    if abs(level - np.rint(level)).max() > 0.01:
        yield wrong(
            f"the objective is the bound of a chain of {count} levels, but training times are not "
            "drawn from them; take time_sampler.name=discrete or importance"
        )


def learned_schedule(recipe: "Recipe") -> Iterator[Finding]:
    trained = jax.eval_shape(recipe.schedule.init_params, jax.random.key(0))
    if jax.tree.leaves(trained) and not recipe.objective.continuous:
        yield wrong(
            "under this objective a learned schedule would make the loss easy, not low; take "
            "objective.name=vdm"
        )
    if recipe.objective.continuous and abs(drawn_times(recipe) - T[1:-1]).max() > 0.01:
        yield wrong(
            "objective.name=vdm is a bound for uniform times; take time_sampler.name=uniform"
        )


def scale_of_the_input(recipe: "Recipe") -> Iterator[Finding]:
    seen = curves(recipe.schedule, recipe.prediction)
    largest = (abs(seen.c_in) * np.sqrt(seen.alpha**2 + seen.sigma**2)).max()
    if largest > 4:
        yield dangerous(
            f"the network's input has a deviation of up to {largest:.3g}; take "
            "prediction.name=edm, which scales it to 1"
        )


def noise_cond_in_half_precision(recipe: "Recipe") -> Iterator[Finding]:
    if recipe.model.dtype == "float32":
        return

    @jax.jit
    def told():
        high, low = recipe.schedule.logsnr(jnp.array([0.0, 1.0]))
        times = recipe.schedule.time(jnp.linspace(high, low, 256))
        return recipe.noise_cond(recipe.schedule, times)

    close = (abs(np.diff(told())) < HALF).mean()
    if close > 0.25:
        yield dangerous(
            f"{close:.0%} of neighbouring noise levels have noise_conds that the embedding's half "
            "precision cannot tell apart; take noise_cond.name=logsnr, or a larger scale"
        )


def average_longer_than_the_run(recipe: "Recipe") -> Iterator[Finding]:
    steps = recipe.train.steps
    decay = float(recipe.ema.rate(steps))
    half_life = np.log(2) / -np.log(decay) if decay > 0 else 0.0
    if half_life > steps:
        yield dangerous(
            f"the average of the weights has a half-life of {half_life:,.0f} steps and the run "
            f"{steps:,}, so sampling uses weights close to random ones; lower ema.decay, or set "
            "ema.warmup=True"
        )
    if recipe.optim.warmup >= steps:
        yield dangerous(
            f"optim.warmup={recipe.optim.warmup:,} is not shorter than the run of {steps:,} steps, "
            "so the learning rate never reaches optim.lr"
        )


def mirrored_text(recipe: "Recipe") -> Iterator[Finding]:
    name = recipe.spec.name.removeprefix("tfds:").split("/")[0]
    if recipe.data.flip and name in ("digits", "mnist", "emnist", "kmnist", "svhn_cropped"):
        yield dangerous(f"data.flip=True mirrors the characters of {name}; set it to False")


def guidance(recipe: "Recipe") -> Iterator[Finding]:
    if recipe.sample.guidance == 1:
        return
    if not recipe.model.conditional:
        yield wrong("sample.guidance needs a model with conditional=True; leave it at 1")
    elif not recipe.loss.class_dropout:
        yield wrong(
            "sample.guidance needs a null class, which loss.class_dropout=0 never trains; train "
            "with loss.class_dropout=0.1, or leave guidance at 1"
        )


Rule = Callable[["Recipe"], Iterator[Finding]]
RULES: tuple[Rule, ...] = (
    guidance,
    ends_of_paths,
    learned_variance,
    chain_of_levels,
    learned_schedule,
    division_by_alpha,
    untrained_end,
    signal_at_the_start,
    scale_of_the_input,
    noise_cond_in_half_precision,
    average_longer_than_the_run,
    mirrored_text,
)


def check(recipe: "Recipe") -> tuple[str, ...]:
    """What to warn of, a line each; raises UserError for what cannot work."""
    check_fit(recipe)
    findings = [finding for rule in RULES for finding in rule(recipe)]
    for finding in findings:
        if finding.fatal:
            raise UserError(finding.text)
    return tuple(finding.text for finding in findings)
