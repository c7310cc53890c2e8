"""Configs that earlier versions saved, in their words, are read in today's."""

import json

import pytest
from ml_collections import ConfigDict

from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import complete
from ddm_jax.errors import UserError

OLD = {
    "seed": 3,
    "schedule": {"name": "linear", "linear": {"steps": 300, "beta_end": 0.04}},
    "label": {"name": "timestep", "timestep": {"steps": 300}},
    "times": {"name": "importance", "importance": {"steps": 300, "history": 5}},
    "objective": {"name": "hybrid", "hybrid": {"steps": 300, "scale": 0.01}},
    "error": {"name": "huber", "huber": {"delta": 2.0}},
    "grid": {"name": "karras", "karras": {"rho": 5.0}},
    "loss": {"label_dropout": 0.2, "uniforms": "stratified"},
}


def read(plain, path):
    path.write_text(json.dumps(plain))
    return complete(load_config(str(path)))


def changed(**sections):
    return {**json.loads(json.dumps(OLD)), **sections}


def test_every_old_word_is_read_as_its_new_one(tmp_path):
    config = read(OLD, tmp_path / "config.json")
    assert config.seed == 3
    assert config.schedule.linear.num_timesteps == 300 and config.schedule.linear.beta_end == 0.04
    assert config.noise_cond.name == "timestep" and config.noise_cond.timestep.scale == 1.0
    assert config.time_sampler.name == "importance" and config.time_sampler.importance.history == 5
    assert config.objective.hybrid.scale == 0.01
    assert config.distance.name == "huber" and config.distance.huber.delta == 2.0
    assert config.timesteps.name == "karras" and config.timesteps.karras.rho == 5.0
    assert config.loss.class_dropout == 0.2 and config.loss.uniforms == "stratified"


def test_a_label_of_another_count_becomes_a_scale(tmp_path):
    """1,000 steps over 300 levels, as one config had it: t 999 as before."""
    old = changed(label={"name": "timestep", "timestep": {"steps": 1000}})
    config = read(old, tmp_path / "config.json")
    assert config.noise_cond.timestep.scale * 299 == pytest.approx(999)


def test_a_continuous_schedule_takes_the_count_of_its_training_times(tmp_path):
    old = changed(schedule={"name": "vp", "vp": {"beta_max": 20.0}})
    old["label"]["timestep"]["steps"] = 1000
    config = read(old, tmp_path / "config.json")
    assert config.schedule.vp.num_timesteps == 300
    assert config.noise_cond.timestep.scale * 299 == pytest.approx(999)


def test_counts_that_contradict_each_other_are_refused(tmp_path):
    old = changed(times={"name": "discrete", "discrete": {"steps": 200}})
    with pytest.raises(UserError, match="200 timesteps in time_sampler and 300 in its schedule"):
        read(old, tmp_path / "config.json")


def test_counts_of_rows_that_are_not_chosen_do_not_matter(tmp_path):
    old = changed(times={"name": "uniform", "discrete": {"steps": 7}})
    assert read(old, tmp_path / "config.json").time_sampler.name == "uniform"


@pytest.mark.parametrize("broken", [[1], "x", 3, None])
def test_broken_sections_are_one_line(broken, tmp_path):
    for name in ("label", "times", "schedule", "loss"):
        with pytest.raises(UserError, match="is no section") as error:
            read(changed(**{name: broken}), tmp_path / "config.json")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "broken",
    [
        {"schedule": {"name": ["linear"], "linear": {"steps": 300}}},
        {"schedule": {"name": "linear", "linear": {"steps": 1}}, "times": {}, "objective": {}},
        {"label": {"name": "timestep", "timestep": {"steps": "many"}}},
        {"label": {"name": "timestep", "timestep": 7}},
    ],
)
def test_broken_settings_are_one_line(broken, tmp_path):
    with pytest.raises(UserError, match="of an earlier version is broken") as error:
        read(changed(**broken), tmp_path / "config.json")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("label.name", "noise_cond.name"),
        ("grid.karras.rho", "timesteps.karras.rho"),
        ("schedule.linear.steps", "schedule.linear.num_timesteps"),
        ("loss.label_dropout", "loss.class_dropout"),
    ],
)
def test_an_old_word_on_the_command_line_is_answered_with_the_new_one(old, new):
    with pytest.raises(UserError) as error:
        override(complete(ConfigDict()), [f"--config.{old}=1"])
    assert str(error.value) == f"--config.{old} is called --config.{new} now"
