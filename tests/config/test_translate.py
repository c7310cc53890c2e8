"""Configs that earlier versions saved, in their words, are read in today's."""

import json

import pytest
from ml_collections import ConfigDict

from ddm_jax.config.load import load_config, override
from ddm_jax.config.schema import build
from ddm_jax.config.tables import complete, data_options
from ddm_jax.errors import UserError
from ddm_jax.models.codecs import CODECS
from ddm_jax.tasks.edits import EDITS

OLD = {
    "seed": 3,
    "schedule": {"name": "linear", "linear": {"steps": 300, "beta_end": 0.04}},
    "label": {"name": "timestep", "timestep": {"steps": 300}},
    "times": {"name": "importance", "importance": {"steps": 300, "history": 5}},
    "objective": {"name": "hybrid", "hybrid": {"steps": 300, "scale": 0.01}},
    "error": {"name": "huber", "huber": {"delta": 2.0}},
    "grid": {"name": "karras", "karras": {"rho": 5.0}},
    "loss": {"label_dropout": 0.2, "uniforms": "stratified"},
    "ema": {"decay": 0.99, "warmup": False},
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
    assert config.average.name == "ema" and config.average.ema.to_dict() == OLD["ema"]
    assert config.loss.class_dropout == 0.2 and config.loss.uniforms == "stratified"


def test_an_average_is_all_that_changes_in_a_config_of_todays_words(tmp_path):
    """The weights of such a run may be gone on with: nothing else differs."""
    today = complete(ConfigDict()).to_dict()
    old = {**today, "ema": today["average"]["ema"]}
    del old["average"]
    assert read(old, tmp_path / "config.json").to_dict() == today


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
    for name in ("label", "times", "schedule", "loss", "ema"):
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


@pytest.mark.parametrize(("size", "now"), [(0, ()), (32, (32,)), ([24, 32], (24, 32)), (-3, (-3,))])
def test_one_number_as_the_size_becomes_a_tuple(size, now, tmp_path):
    plain = {"data": {"name": "shapes", "size": size}}
    assert read(plain, tmp_path / "config.json").data.size == now


@pytest.mark.parametrize("words", [{}, OLD], ids=["later", "first"])
def test_the_scaling_of_the_data_becomes_the_codecs(words, tmp_path):
    plain = {**words, "data": {"scaling": "fitted", "size": 28}}
    config = read(plain, tmp_path / "config.json")
    assert config.codec.name == "pixels" and config.codec.pixels.scaling == "fitted"
    assert config.data.size == (28,) and "scaling" not in config.data
    assert read({"data": {"name": "x"}}, tmp_path / "config.json").codec.pixels.scaling == "unit"


@pytest.mark.parametrize("broken", [3, [1], None, {"size": None}, {"size": "big"}, {"scaling": 1}])
def test_broken_data_sections_are_one_line(broken, tmp_path):
    with pytest.raises(UserError) as error:
        config = read({"data": broken}, tmp_path / "config.json")
        build(CODECS, config.codec, "codec", spec=None)
        data_options(config)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("flip", [True, False])
def test_mirroring_leaves_the_settings_of_the_data(flip, tmp_path):
    config = read(changed(data={"name": "digits", "flip": flip}), tmp_path / "config.json")
    assert config.augment.name == ("mirror" if flip else "none")


@pytest.mark.parametrize(
    "scale, guidance",
    [(1.0, {"name": "none"}), (2, {"name": "classifier_free", "classifier_free": {"scale": 2.0}})],
)
def test_the_condition_and_guidance_leave_the_network_and_the_samples(scale, guidance, tmp_path):
    model = {"name": "ddpm_unet", "ddpm_unet": {"channels": 16, "conditional": True}}
    old = changed(model=model, sample={"guidance": scale, "count": 3})
    config = read(old, tmp_path / "config.json")
    assert config.condition.name == "classes" and config.model.ddpm_unet.channels == 16
    assert config.sample.count == 3 and config.guidance.name == guidance["name"]
    assert config.guidance.classifier_free.scale == (2.0 if scale == 2 else 1.5)
    model["ddpm_unet"]["conditional"] = False
    again = read(changed(model=model), tmp_path / "config.json")
    assert again.condition.name == "nothing" and again.guidance.name == "none"


def test_an_edit_of_one_section_becomes_that_of_its_row(tmp_path):
    """Levels of 300 become shares of the last one, and that of 0, which edits nothing, goes."""
    today = complete(ConfigDict({"schedule": {"linear": {"num_timesteps": 300}}})).to_dict()
    today["schedule"]["name"] = "linear"
    first = {"kind": "denoise", "pair": [2, 3], "frames": 9, "first": 4, "count": 5}
    config = read({**today, "edit": {**first, "levels": [0, 60, 299]}}, tmp_path / "config.json")
    assert config.edit.name == "sdedit" and config.edit.sdedit.first == 4
    assert config.edit.sdedit.count == 5 and config.edit.sdedit.strength == (60 / 299, 1.0)
    assert config.edit.interpolate.pair == (2, 3) and config.edit.interpolate.frames == 9
    plain = {"kind": "interpolate", "levels": []}
    again = read({**today, "edit": plain}, tmp_path / "config.json")
    assert again.edit.name == "interpolate" and again.edit.sdedit.strength == (0.6,)
    assert read(today, tmp_path / "config.json").to_dict() == again.to_dict()


@pytest.mark.parametrize("broken", [{"kind": 3}, {"levels": 4}, {"levels": ["a"]}, {"kind": ["x"]}])
def test_broken_edits_are_one_line(broken, tmp_path):
    with pytest.raises(UserError) as error:
        config = read({**complete(ConfigDict()).to_dict(), "edit": broken}, tmp_path / "c.json")
        build(EDITS, config.edit, "edit")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sample.guidance", "guidance.classifier_free.scale"),
        ("data.flip", "augment.name"),
        ("model.ddpm_unet.conditional", "condition.name"),
        ("label.name", "noise_cond.name"),
        ("grid.karras.rho", "timesteps.karras.rho"),
        ("schedule.linear.steps", "schedule.linear.num_timesteps"),
        ("loss.label_dropout", "loss.class_dropout"),
        ("data.scaling", "codec.pixels.scaling"),
        ("ema.decay", "average.ema.decay"),
        ("edit.kind", "edit.name"),
        ("edit.pair", "edit.interpolate.pair"),
        ("edit.count", "edit.sdedit.count"),
        ("edit.levels", "edit.sdedit.strength"),
    ],
)
def test_an_old_word_on_the_command_line_is_answered_with_the_new_one(old, new):
    with pytest.raises(UserError) as error:
        override(complete(ConfigDict()), [f"--config.{old}=1"])
    assert str(error.value) == f"--config.{old} is called --config.{new} now"
