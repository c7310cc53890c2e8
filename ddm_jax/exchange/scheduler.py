"""The schedulers of diffusers in our schedule, prediction and sampler, and the other way."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddm_jax.diffusion.predictions import PREDICTIONS
from ddm_jax.diffusion.samplers import SAMPLERS
from ddm_jax.diffusion.samplers.timesteps import TIMESTEPS
from ddm_jax.diffusion.schedules import SCHEDULES
from ddm_jax.exchange.values import Values
from ddm_jax.tasks.generator import Generator

_COMMON: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "clip_sample": True,
    "clip_sample_range": 1.0,
    "prediction_type": "epsilon",
    "thresholding": False,
    "dynamic_thresholding_ratio": 0.995,
    "sample_max_value": 1.0,
    "timestep_spacing": "leading",
    "steps_offset": 0,
    "rescale_betas_zero_snr": False,
}
# What the schedulers take for settings that a file lacks.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "DDPMScheduler": {**_COMMON, "variance_type": "fixed_small"},
    "DDIMScheduler": {**_COMMON, "set_alpha_to_one": True},
}
_SCHEDULES = {"linear": "linear", "scaled_linear": "scaled_linear", "squaredcos_cap_v2": "cosine"}
_PREDICTIONS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
# The logarithm of the small variance is taken and undone there; that of the large one is not.
_VARIANCES = {
    "fixed_small": "small",
    "fixed_small_log": "small",
    "fixed_large": "large",
    "learned_range": "learned",
}
_VARIANCE_TYPES = {"small": "fixed_small", "large": "fixed_large", "learned": "learned_range"}
# "leading" over all T levels is the uniform grid; over fewer it starts below the noisiest level.
_GRIDS = {"linspace": "uniform", "leading": "uniform", "trailing": "trailing"}


def read(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a config by their dotted keys, of a scheduler_config.json.

    UserError names the key for which there is no equal.
    """
    kind = given.get("_class_name", "DDPMScheduler")
    whole = Values(path, {"_class_name": kind}, {"_class_name": kind})
    whole.only("_class_name", tuple(DEFAULTS), "ours has other names for samplers")
    values = Values(path, given, DEFAULTS[kind])
    row = _SCHEDULES[values.only("beta_schedule", tuple(_SCHEDULES), "ours has no other")]
    values.only("trained_betas", (None,), "ours computes its betas")
    found = {
        "schedule.name": row,
        f"schedule.{row}.num_timesteps": values.whole("num_train_timesteps", 2, 100_000),
        f"schedule.{row}.zero_terminal": values.flag("rescale_betas_zero_snr"),
        "noise_cond.name": "timestep",
        "noise_cond.timestep.scale": 1.0,
    }
    if row == "cosine":
        found |= {"schedule.cosine.s": 0.008, "schedule.cosine.max_beta": 0.999}
    else:
        found |= {f"schedule.{row}.{end}": values.number(end) for end in ("beta_start", "beta_end")}
    if row == "linear":
        found["schedule.linear.scaled"] = False
    predicts = values.only("prediction_type", tuple(_PREDICTIONS), "ours predicts no other")
    found["prediction.name"] = _PREDICTIONS[predicts]
    return {**found, **_sampling(values, kind)}


def _sampling(values: Values, kind: str) -> dict[str, Any]:
    spacing = values.only("timestep_spacing", tuple(_GRIDS), "ours has no other")
    offset = "the grid is that of --config.timesteps; set it to 0 in the file"
    values.only("steps_offset", (0,), offset)
    clips = values.flag("clip_sample")
    if values.flag("thresholding"):  # which clips alone where the largest value is that of the data
        values.only("sample_max_value", (1, 1.0), "ours clips to the range of the data")
    elif clips:
        values.only("clip_sample_range", (1, 1.0), "ours clips to the range of the data")
    found = {
        "timesteps.name": _GRIDS[spacing],
        "sample.clip": "static" if clips or values["thresholding"] else "none",
    }
    if kind == "DDIMScheduler":
        values.only("set_alpha_to_one", (True,), "ours ends with an estimate of x_0")
        return {**found, "sampler.name": "ddim", "sampler.ddim.eta": 0.0}
    variance = values.only("variance_type", tuple(_VARIANCES), "ours has no such variance")
    return {**found, "sampler.name": "ddpm", "sampler.ddpm.variance": _VARIANCES[variance]}


def write(generator: Generator, learns_variance: bool) -> dict[str, Any]:
    """The settings of the scheduler that samples as `generator` does.

    Raises ValueError for what the schedulers have no equal of.
    """
    model = generator.model
    if _row(PREDICTIONS, model.prediction) not in _PREDICTIONS.values():
        raise ValueError("prediction.name: there, networks predict eps, x0 or v")
    predicts = {ours: theirs for theirs, ours in _PREDICTIONS.items()}
    grids = {"uniform": "linspace", "trailing": "trailing"}
    grid = _row(TIMESTEPS, generator.timesteps)
    if grid not in grids:
        raise ValueError(f"timesteps.name={grid}: take --config.timesteps.name=uniform to export")
    if generator.options.clip == "dynamic":
        raise ValueError("sample.clip=dynamic: take --config.sample.clip=static to export")
    name, sampler = _row(SAMPLERS, generator.sampler), {}
    if name not in ("ddpm", "ddim"):
        raise ValueError(f"sampler.name={name}: take --config.sampler.name=ddim to export")
    if learns_variance != generator.sampler.asks_variance:
        raise ValueError(
            "their samplers take the variance that a network learnt: take "
            "--config.sampler.name=ddpm --config.sampler.ddpm.variance=learned to export"
        )
    if name == "ddpm":
        own: Any = generator.sampler
        sampler = {"variance_type": _VARIANCE_TYPES[own.variance]}
    kind = {"ddpm": "DDPMScheduler", "ddim": "DDIMScheduler"}[name]
    return {
        "_class_name": kind,
        **DEFAULTS[kind],
        **_betas(model.schedule),
        "prediction_type": predicts[_row(PREDICTIONS, model.prediction)],
        "clip_sample": generator.options.clip == "static",
        "timestep_spacing": grids[grid],
        **sampler,
    }


def _betas(schedule: Any) -> dict[str, Any]:
    name = _row(SCHEDULES, schedule)
    forms = {"linear": "linear", "scaled_linear": "scaled_linear", "quadratic": "scaled_linear"}
    if name == "cosine" and (schedule.s, schedule.max_beta) == (0.008, 0.999):
        form = {"beta_schedule": "squaredcos_cap_v2"}
    elif name in forms:
        scale = 1000 / schedule.num_timesteps if name == "linear" and schedule.scaled else 1.0
        ends = {"beta_start": scale * schedule.beta_start, "beta_end": scale * schedule.beta_end}
        form = {"beta_schedule": forms[name], **ends}
    else:
        raise ValueError(
            f"schedule.name={name} with these settings: there, betas are linear, linear in their "
            "root, or the published cosine"
        )
    return {
        **form,
        "num_train_timesteps": schedule.num_timesteps,
        "rescale_betas_zero_snr": schedule.zero_terminal,
    }


def _row(table: Mapping[str, type], part: Any) -> str:
    """The name of a part in its table."""
    return next(name for name, row in table.items() if row is type(part))
