"""Bits per dimension of data under a diffusion model, by two independent estimators.

They give the same data to two models of the 256 values: the bound's decoder leaves its outer bins
open, so values at the ends gain the tails; the ODE has a density that sigma(0) widens, read evenly
over each bin. Where many pixels are black or white the bound can be the lower of the two.

With a fixed variance the bound is not that of the code of Ho et al. 2020 (arXiv:2006.11239) and
Nichol & Dhariwal 2021 (arXiv:2102.09672) unless evaluate.decoder is "published": theirs decodes
with the posterior variance of the two lowest levels, the default "x0" with the variance of x_0
given x_t at the lowest, about twice as much. With a learned variance the two are the same but for
alpha^2 of the lowest level, 0.9999 on the linear schedule. See `vlb.decoder_log_variance`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from jax import Array

from ddm_jax.diffusion.arrays import fold_in
from ddm_jax.diffusion.clipping import CLIPS
from ddm_jax.diffusion.likelihood.flow import ode_bits
from ddm_jax.diffusion.likelihood.vlb import vlb
from ddm_jax.diffusion.process import Denoise
from ddm_jax.diffusion.samplers.timesteps import UniformGrid
from ddm_jax.evaluation.base import Rows, mean_and_error, shown
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.diffusion import Diffusion


class _Bits:
    """Bits per dimension, of values that are counted."""

    task: ClassVar[str] = "diffusion"
    higher: ClassVar[bool] = False
    name: ClassVar[str]  # of the number

    def headline(self, summary: Mapping[str, Any]) -> tuple[str, float]:
        return self.name, summary["mean"]

    def check(self, task: Diffusion) -> None:
        if not task.spec.levels:
            raise ValueError(
                f"bits per dimension are of values with levels, and those of {task.spec.name} are "
                "continuous; judge the run by its samples"
            )
        if task.codec.limits() is None:
            raise ValueError(
                "bits per dimension are of the values of the data, and this run's x are latents; "
                "judge it by its samples, as evaluate.metrics=frechet does"
            )


class Bound(_Bits):
    """The variational bound of the chain that sampling runs, in bits/dim.

    Its estimates are clipped as `sample.clip` says, as in the code of Nichol & Dhariwal 2021,
    arXiv:2102.09672; conditional models are told each example's own condition.
    """

    of_example: ClassVar[str] = "total"
    name: ClassVar[str] = "bits/dim, bound"

    def measure(
        self, task: Diffusion, weights: Weights, columns: Mapping[str, Array], key: Array
    ) -> Mapping[str, Array]:
        limits, options = task.codec.limits(), task.evaluate
        denoise = CLIPS[task.generator.options.clip](conditioned(task, weights, columns), *limits)
        x0 = task.codec.encode(columns["x"], weights.borrowed)
        schedule, noise = task.model.trained(weights.params), fold_in(key, 0)
        bound = vlb(
            denoise,
            schedule,
            times(task),
            x0,
            key=noise,
            variance=variance(task),
            low=limits[0],
            high=limits[1],
            levels=task.spec.levels,
            decoder=options.decoder,
        )
        return bound._replace(kl=bound.kl.T, x0_mse=bound.x0_mse.T)._asdict()

    def settings(self, task: Diffusion) -> dict[str, Any]:
        return {
            "steps": len(times(task)),
            "variance": variance(task),
            "decoder": task.evaluate.decoder,
            "clip": task.generator.options.clip,
        }

    def summary(self, task: Diffusion, rows: Rows) -> dict[str, Any]:
        parts = {name: mean_and_error(rows[name]) for name in ("prior", "decoder")}
        parts["kl"] = mean_and_error(rows["kl"].sum(1))
        return {
            **mean_and_error(rows["total"]),
            "parts": parts,
            "times": np.asarray(times(task)).tolist(),
            "kl": rows["kl"].mean(0).tolist(),
            "x0_mse": rows["x0_mse"].mean(0).tolist(),
        }

    def lines(self, summary: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
        named = (("prior", "prior"), ("kl", "pairs of times"), ("decoder", "decoder"))
        return [
            f"variational bound  {shown(summary)} bits/dim "
            f"({len(summary['times']):,} times, {settings['variance']} variance, "
            f"{settings['decoder']} decoder)",
            *(f"  {name:16} {shown(summary['parts'][part])}" for part, name in named),
        ]


class FlowBits(_Bits):
    """The likelihood by the probability-flow ODE of the unclipped estimates, in bits/dim."""

    of_example: ClassVar[str] = "bits"
    name: ClassVar[str] = "bits/dim, ODE"

    def measure(
        self, task: Diffusion, weights: Weights, columns: Mapping[str, Array], key: Array
    ) -> Mapping[str, Array]:
        options, denoise = task.evaluate, conditioned(task, weights, columns)
        how = {"steps": options.ode_steps, "trace": options.trace, "probes": options.probes}
        how["low"], how["high"] = task.codec.limits()
        how["levels"] = task.spec.levels
        x0 = task.codec.encode(columns["x"], weights.borrowed)
        schedule, probe = task.model.trained(weights.params), fold_in(key, 1)
        return {"bits": ode_bits(denoise, schedule, x0, probe, **how)}

    def settings(self, task: Diffusion) -> dict[str, Any]:
        options = task.evaluate
        return {name: getattr(options, name) for name in ("ode_steps", "trace", "probes")}

    def summary(self, task: Diffusion, rows: Rows) -> dict[str, Any]:
        return mean_and_error(rows["bits"])

    def lines(self, summary: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
        return [
            f"ODE likelihood     {shown(summary)} bits/dim "
            f"({settings['ode_steps']} steps, {settings['trace']} trace)"
        ]


def conditioned(task: Diffusion, weights: Weights, columns: Mapping[str, Array]) -> Denoise:
    """The model's denoiser under the examples' own condition, unguided and unclipped."""
    return task.model.denoiser(weights.params, task.model.condition.raw(columns))


def times(task: Diffusion) -> np.ndarray:
    """The grid of the bound: all levels, or `evaluate.steps` times evenly spaced."""
    schedule = task.model.schedule
    return UniformGrid().times(schedule, task.evaluate.steps or schedule.num_timesteps)


def variance(task: Diffusion) -> str:
    """The bound's: "learned" where the network learned one, else `evaluate.variance`."""
    return "learned" if task.objective.learns_variance else task.evaluate.variance
