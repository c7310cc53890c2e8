"""What is known to be wrong or dangerous in the task of a diffusion model.

Where it can, a rule asks the parts what they do (their rates, weights and coefficients) rather than
which they are, so that it judges new rows too; others go by a setting, as `variance`.
"""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddm_jax.config.findings import Finding, dangerous, wrong
from ddm_jax.diffusion.losses.mean_flow import reaches
from ddm_jax.diffusion.predictions import Prediction, V
from ddm_jax.diffusion.schedules.base import Schedule
from ddm_jax.models.codecs import Codec
from ddm_jax.tasks.diffusion import Diffusion

LEFT = 0.05  # noise for each part of signal that a sample may keep
SIGNAL = 1e-3  # SNR that pure noise may be taken for
AMPLIFIED = 1e3  # how far an error of the network may be magnified in x0_hat
CARRIED = 20.0  # by how much an aim may magnify the slope of the network in time
TURNS = 100.0  # radians by which the fastest wave of an embedding of noise_conds may turn
HALF = 2.0**-8  # between neighbours of bfloat16 just below 1
T = np.linspace(0, 1, 101, dtype=np.float32)


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
    def evaluate():
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


def ends_of_paths(task: Diffusion) -> Iterator[Finding]:
    objective, asks = task.objective, task.generator.sampler.estimate
    if asks == "end" and objective.estimate == "mean" and not objective.two_times:
        yield dangerous(
            "this sampler takes the network's estimate for the end of x_t's path, and this "
            "objective trains the mean of x_0 given x_t, so samples are drawn to the mean of the "
            "data; take sampler.name=ddim, say, or objective.name=mean_flow or consistency"
        )
    elif asks == "mean" and objective.estimate == "end":
        yield dangerous(
            "this objective trains the end of x_t's path, and this sampler takes it for the mean "
            "of x_0 given x_t; take sampler.name=consistency"
        )


def jumps(task: Diffusion) -> Iterator[Finding]:
    if not task.objective.asks_slope:
        return
    model = task.model
    t, s = (a.ravel() for a in np.meshgrid(T, T, indexing="ij"))

    @jax.jit
    def seen():
        (_, _, out), (_, _, slope) = reaches(model.schedule, model.prediction, t, s)
        return out / slope, slope, model.noise_cond(model.schedule, T)

    carried, slope, told = map(np.asarray, seen())
    below = s <= t
    signs, largest = np.sign(slope[below]), abs(carried[below]).max()
    if not (signs == signs[0]).all() or largest > CARRIED:
        yield wrong(
            "this objective's aim holds the network's slope in time, which this schedule and "
            f"prediction magnify {largest:,.0f} times; take schedule.name=flow with "
            "prediction.name=velocity"
        )
    turns = abs(told[-1] - told[0])
    if turns > TURNS:
        yield dangerous(
            f"the noise_cond moves by {turns:,.0f} over all times, so the slope in time that this "
            "objective learns from is steep and its training unsteady; take noise_cond.name=time"
        )


def noise_left(task: Diffusion) -> Iterator[Finding]:
    if not task.objective.two_times and task.objective.estimate == "mean":
        return
    least = np.exp(-0.5 * float(jax.jit(task.model.schedule.logsnr)(0.0)))
    if least > LEFT:
        yield dangerous(
            f"this objective learns jumps to the least noisy level, which holds {least:.3g} times "
            "as much noise as signal here; take schedule.name=flow"
        )


def guidance_of_training(task: Diffusion) -> Iterator[Finding]:
    if not task.objective.asks_null:
        return
    if not task.model.condition.parts:
        yield wrong(
            "this objective guides with what the network says without its condition, and the model "
            "has none; take condition.name=classes, or leave objective.mean_flow.guidance at 1"
        )
    elif not task.draws.class_dropout:
        yield wrong(
            "this objective guides with the null class, which loss.class_dropout=0 never trains; "
            "take loss.class_dropout=0.1"
        )
    elif task.generator.guidance.asks == "null":
        yield dangerous(
            "the jumps are trained with guidance, and sampling would guide them once more; take "
            "guidance.name=none"
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


def noise_cond_in_half_precision(task: Diffusion) -> Iterator[Finding]:
    if task.model.net.dtype == "float32":
        return

    @jax.jit
    def told():
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


def features(task: Diffusion) -> Iterator[Finding]:
    asks = task.features.asks
    if asks and asks not in task.lent:
        key = task.borrows[asks].key
        yield wrong(f"these features are of another run; name it, as in --config.{key}=runs/x")


def teacher(task: Diffusion) -> Iterator[Finding]:
    if task.objective.asks_teacher and not task.teacher.run:
        yield wrong(
            "this objective learns from another run; name it with --config.teacher.run=runs/<its "
            "name>"
        )
    if task.teacher.run and not task.objective.asks_teacher:
        yield wrong(
            "teacher.run is given, and this objective learns from none; take "
            "objective.name=teacher or consistency_distillation, or leave teacher.run empty"
        )


def alike(one: Codec, other: Codec) -> bool:
    """Whether two codecs make the same of the data, as far as their shapes and ranges tell, and
    what they measured of an autoencoder."""
    if one.shape != other.shape or bool(one.latents) != bool(other.latents):
        return False
    if one.latents and other.latents and not one.latents.alike(other.latents):
        return False
    ends = (codec.limits() or () for codec in (one, other))
    return all(np.allclose(a, b, atol=1e-6) for a, b in zip(*ends, strict=True))


def told(task: Diffusion) -> Any:
    """The shapes of what a model is told of one example, beside the noise."""
    return jax.eval_shape(lambda: task.model.condition.null(1))


def lent(task: Diffusion) -> Iterator[Finding]:
    """Whether borrowed runs are of the same data values, and of the same classes."""
    for role, other in task.lent.items():
        key = task.borrows[role].key
        if role in ("features", "autoencoder"):
            if other.spec.values != task.spec.values:
                yield wrong(f"{key}: that run sees other data; take one on the same data")
            elif role == "features" and other.codec.latents:
                yield wrong(f"{key}: that run sees latents; take one that sees the data")
        elif not alike(other.codec, task.codec):
            yield wrong(
                f"{key}: that run sees other data, or sees them otherwise; take one on the same "
                "data with the same codec"
            )
        elif role == "judge":
            if task.model.condition.parts and other.spec.classes != task.spec.classes:
                yield wrong(f"{key}: that classifier tells other classes than the model has")
        elif (
            type(other.model.condition) is not type(task.model.condition)
            or told(other) != told(task)
            or (task.model.condition.parts and other.spec.classes != task.spec.classes)
        ):
            yield wrong(
                f"{key}: that run has another condition; take one with the same condition and "
                "classes"
            )


RULES = (
    guidance,
    features,
    teacher,
    lent,
    ends_of_paths,
    jumps,
    noise_left,
    guidance_of_training,
    learned_variance,
    chain_of_levels,
    learned_schedule,
    division_by_alpha,
    untrained_end,
    signal_at_the_start,
    scale_of_the_input,
    noise_cond_in_half_precision,
)
