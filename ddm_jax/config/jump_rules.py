"""What is known to be wrong or dangerous where few steps are trained, or are asked of a model."""

from collections.abc import Iterator

import jax
import numpy as np
from jax import Array

from ddm_jax.config.findings import Finding, T, dangerous, wrong
from ddm_jax.diffusion.losses.mean_flow import reaches
from ddm_jax.tasks.diffusion import Diffusion

LEFT = 0.05  # noise for each part of signal that a sample may keep
CARRIED = 20.0  # by how much an aim may magnify the slope of the network in time
TURNS = 100.0  # radians by which the fastest wave of an embedding of noise_conds may turn


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


def carried(task: Diffusion) -> Iterator[Finding]:
    if not (task.objective.asks_slope and task.objective.two_times):
        return
    model = task.model
    t, s = (a.ravel() for a in np.meshgrid(T, T, indexing="ij"))

    @jax.jit
    def seen() -> tuple[Array, Array]:
        (_, _, out), (_, _, slope) = reaches(model.schedule, model.prediction, t, s)
        return out / slope, slope

    magnified, slope = map(np.asarray, seen())
    below = s <= t
    signs, largest = np.sign(slope[below]), abs(magnified[below]).max()
    if not (signs == signs[0]).all() or largest > CARRIED:
        yield wrong(
            "this objective's aim holds the network's slope in time, which this schedule and "
            f"prediction magnify {largest:,.0f} times; take schedule.name=flow with "
            "prediction.name=velocity"
        )


def turning(task: Diffusion) -> Iterator[Finding]:
    if not task.objective.asks_slope:
        return
    model = task.model
    told = np.asarray(jax.jit(lambda: model.noise_cond(model.schedule, T))())
    turns = abs(told[-1] - told[0])
    if turns > TURNS:
        yield dangerous(
            f"the noise_cond moves by {turns:,.0f} over all times, so the slope in time that this "
            "objective learns from is steep and its training unsteady; take noise_cond.name=time"
        )


def fixed_end(task: Diffusion) -> Iterator[Finding]:
    if not task.objective.asks_slope or task.objective.two_times:
        return
    schedule, prediction = task.model.schedule, task.model.prediction
    out = jax.jit(lambda: prediction.coefficients(schedule.alpha(0.0), schedule.sigma(0.0))[1])()
    if abs(out) > LEFT:
        yield wrong(
            "this objective keeps the estimate of x_0 the same along a path, and with this "
            "prediction nothing fixes it at the path's end; take prediction.name=velocity or v"
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
            "has none; take condition.name=classes, or leave the objective's guidance at 1"
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


RULES = (ends_of_paths, carried, turning, fixed_end, noise_left, guidance_of_training)
