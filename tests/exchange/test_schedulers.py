"""Schedulers of diffusers: every setting is mapped or refused, and written as it was read."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ddm_jax.diffusion.predictions import PREDICTIONS
from ddm_jax.diffusion.samplers import SAMPLERS
from ddm_jax.diffusion.samplers.timesteps import TIMESTEPS
from ddm_jax.diffusion.schedules import SCHEDULES
from ddm_jax.errors import UserError
from ddm_jax.exchange import scheduler

FILE = Path("scheduler_config.json")


def made(values):
    """A generator with the parts that settings of a config name, those that a scheduler shapes."""

    def row(section, table):
        name = values[f"{section}.name"]
        head = f"{section}.{name}."
        return table[name](
            **{k.removeprefix(head): v for k, v in values.items() if k.startswith(head)}
        )

    model = SimpleNamespace(
        schedule=row("schedule", SCHEDULES), prediction=row("prediction", PREDICTIONS)
    )
    return SimpleNamespace(
        model=model,
        sampler=row("sampler", SAMPLERS),
        timesteps=row("timesteps", TIMESTEPS),
        options=SimpleNamespace(clip=values["sample.clip"]),
    )


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"variance_type": "fixed_large", "beta_end": 0.03, "num_train_timesteps": 300},
        {"beta_schedule": "scaled_linear", "beta_start": 0.001, "prediction_type": "sample"},
        {"beta_schedule": "squaredcos_cap_v2", "clip_sample": False},
        {"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"},
        {"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": True},
        {"variance_type": "learned_range", "timestep_spacing": "trailing"},
    ],
    ids=str,
)
def test_what_is_written_is_what_was_read(given):
    values = scheduler.read(FILE, given)
    learns = given.get("variance_type") == "learned_range"
    written = scheduler.write(made(values), learns)
    assert scheduler.read(FILE, written) == values
    kind = given.get("_class_name", "DDPMScheduler")
    expected = {"timestep_spacing": "linspace", **scheduler.DEFAULTS[kind], **given}
    if "timestep_spacing" not in given:
        expected["timestep_spacing"] = "linspace"  # the name of the grid over all levels
    assert written == {"_class_name": kind, **expected}


def test_betas_are_those_that_a_file_says():
    """Linear from end to end, whatever is written in which order."""
    values = scheduler.read(FILE, {"beta_start": 0.5, "beta_end": 0.25, "num_train_timesteps": 2})
    np.testing.assert_allclose(made(values).model.schedule.betas(), [0.5, 0.25])


REFUSED = {
    "_class_name": ["PNDMScheduler", 3, []],
    "num_train_timesteps": [1, 10**9, 10.0, None],
    "beta_start": ["0.1", None, float("inf")],
    "beta_end": [True],
    "beta_schedule": ["sigmoid", None, []],
    "trained_betas": [[0.1, 0.2]],
    "clip_sample": [None, 1],
    "clip_sample_range": [2.0],
    "prediction_type": ["flow_prediction"],
    "sample_max_value": [1.5],
    "timestep_spacing": ["karras"],
    "steps_offset": [1],
    "rescale_betas_zero_snr": ["yes"],
    "thresholding": ["yes"],
    "variance_type": ["learned", "fixed_large_log", None],
    "set_alpha_to_one": [False],
    "use_karras_sigmas": [True],
}


@pytest.mark.parametrize("key", REFUSED)
def test_what_has_no_equal_is_refused_by_its_name(key):
    base = {"thresholding": True} if key == "sample_max_value" else {}
    if key == "set_alpha_to_one":
        base = {"_class_name": "DDIMScheduler"}
    for value in REFUSED[key]:
        with pytest.raises(UserError) as error:
            scheduler.read(FILE, {**base, key: value})
        text = str(error.value)
        assert key in text and str(FILE) in text and "\n" not in text and len(text) < 300


def test_every_setting_is_spoken_of():
    """The ratio alone changes nothing: what clips is the largest value."""
    known = scheduler.DEFAULTS["DDPMScheduler"].keys() | scheduler.DEFAULTS["DDIMScheduler"].keys()
    assert known - {"dynamic_thresholding_ratio"} == REFUSED.keys() - {
        "_class_name",
        "use_karras_sigmas",
    }


@pytest.mark.parametrize(
    "change, learns, reason",
    [
        ({"prediction.name": "velocity"}, False, "prediction"),
        ({"timesteps.name": "karras"}, False, "timesteps.name=uniform"),
        ({"sample.clip": "dynamic"}, False, "clip=static"),
        ({"sampler.name": "heun"}, False, "sampler.name=ddim"),
        ({"schedule.name": "inverse"}, False, "schedule.name=inverse"),
        ({"schedule.name": "edm"}, False, "schedule.name=edm"),
        ({"schedule.name": "cosine", "schedule.cosine.s": 0.1}, False, "schedule.name=cosine"),
        ({}, True, "variance=learned"),
        ({"sampler.name": "ddim"}, True, "variance=learned"),
        ({"sampler.ddpm.variance": "learned"}, False, "variance=learned"),
    ],
    ids=str,
)
def test_what_diffusers_cannot_hold_is_refused(change, learns, reason):
    generator = made({**scheduler.read(FILE, {}), **change})
    with pytest.raises(ValueError, match=reason):
        scheduler.write(generator, learns)


def test_betas_of_other_rows_that_have_the_same_form():
    """Those of the scaled linear row, multiplied, and of the quadratic one, linear in the root."""
    values = {**scheduler.read(FILE, {}), "schedule.linear.num_timesteps": 250}
    scaled = made({**values, "schedule.linear.scaled": True})
    quadratic = made({**values, "schedule.name": "quadratic", "schedule.quadratic.beta_end": 0.03})
    for generator in (scaled, quadratic):
        again = made(scheduler.read(FILE, scheduler.write(generator, False)))
        betas = again.model.schedule.betas()
        np.testing.assert_allclose(betas, generator.model.schedule.betas(), rtol=1e-12)
