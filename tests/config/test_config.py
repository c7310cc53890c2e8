"""Configs as data: sections from dataclasses, overrides by type, JSON there and back."""

import json
from dataclasses import dataclass

import pytest
from conftest import ROOT
from ml_collections import ConfigDict

from ddm_jax.config.defaults import DEFAULTS
from ddm_jax.config.load import leaves, load_config, override, save_config
from ddm_jax.config.schema import build, choice, defaults_of, section
from ddm_jax.config.tables import COMMON, COMMON_TABLES, complete
from ddm_jax.diffusion.samplers import SAMPLERS
from ddm_jax.diffusion.samplers.one_step import DDIM, DDPM
from ddm_jax.diffusion.schedules import SCHEDULES
from ddm_jax.errors import UserError
from ddm_jax.options.training import TrainOptions
from ddm_jax.tasks import TASKS

OTHERS = ("base", "folder")  # test_folder_config.py has the one that looks at a folder
CONFIGS = sorted(p.stem for p in (ROOT / "configs").glob("*.py") if p.stem not in OTHERS)


def quickstart():
    return load_config(str(ROOT / "configs/quickstart.py"))


@dataclass(frozen=True)
class Part:
    given: int
    size: int = 3
    names: tuple[str, ...] = ("a",)

    def __post_init__(self):
        if self.size < 0:
            raise ValueError("size must be at least 0")


def test_sections_hold_the_fields_that_have_defaults():
    assert section(Part, size=4).to_dict() == {"size": 4, "names": ("a",)}
    assert build(Part, section(Part), given=1) == Part(1)
    with pytest.raises(AttributeError, match="sise"):
        section(Part).sise = 1


TABLE = {"ddim": DDIM, "ddpm": DDPM}


def test_choices_hold_every_row():
    config = choice(TABLE, "ddim", eta=0.5)
    assert config.to_dict() == {"name": "ddim", "ddpm": {"variance": "small"}, "ddim": {"eta": 0.5}}
    assert build(TABLE, config) == DDIM(0.5)
    config.name = "ddpm"
    assert build(TABLE, config) == DDPM()


def test_build_answers_with_the_remedy():
    config = choice(TABLE, "ddim")
    config.name = "dimm"
    with pytest.raises(UserError, match="unknown sampler 'dimm'; did you mean 'ddim'.*ddim, ddpm"):
        build(TABLE, config, "sampler")
    with pytest.raises(UserError, match="part: names takes values like .* not 'b'"):
        build(Part, ConfigDict({"names": "b"}), "part", given=1)
    with pytest.raises(UserError, match="part: size must be at least 0"):
        build(Part, section(Part, size=-1), "part", given=1)


def test_a_row_added_at_run_time_is_in_the_config_and_on_the_command_line(monkeypatch):
    monkeypatch.setitem(SAMPLERS, "part", Part)
    config = override(quickstart(), ["--config.sampler.name=part", "--config.sampler.part.size=7"])
    assert build(SAMPLERS, config.sampler, given=2) == Part(2, 7)


@pytest.mark.parametrize(
    "argument, key, value",
    [
        ("--config.train.steps=12", "steps", 12),
        ("--config.optim.lr=1", "lr", 1.0),
        ("--config.optim.lr=3e-4", "lr", 3e-4),
        ("--config.data.strict=true", "strict", True),
        ("--config.data.strict", "strict", True),
        ("--noconfig.data.strict", "strict", False),
        ("--config.model.ddpm_unet.multipliers=1,2,4", "multipliers", (1, 2, 4)),
        ("--config.model.ddpm_unet.multipliers=(1,)", "multipliers", (1,)),
        ("--config.model.ddpm_unet.attention=()", "attention", ()),
        ("--config.sample.classes=3,1", "classes", (3, 1)),
        ("--config.data.name=tfds:cifar10", "name", "tfds:cifar10"),
        ("--config.data.size=24", "size", (24,)),
        ("--config.data.size=24,32", "size", (24, 32)),
        ("--config.codec.pixels.scaling=fitted", "scaling", "fitted"),
    ],
)
def test_overrides_are_read_by_type(argument, key, value):
    path = argument.split("config.")[1].split("=")[0]
    got = dict(leaves(override(quickstart(), [argument])))[path]
    assert got == value and type(got) is type(value) and path.endswith(key)


def test_overrides_leave_their_source_alone():
    config = quickstart()
    override(config, ["--config.train.steps=1"])
    assert config.train.steps != 1


@pytest.mark.parametrize("name", CONFIGS)
def test_json_reads_back_what_was_saved(name, tmp_path):
    config = load_config(str(ROOT / f"configs/{name}.py"))
    save_config(config, tmp_path / "config.json")
    again = complete(load_config(str(tmp_path / "config.json")))
    assert dict(leaves(again)) == dict(leaves(config))


@pytest.mark.parametrize("name", CONFIGS)
def test_docstrings_hold_the_command(name):
    text = (ROOT / f"configs/{name}.py").read_text()
    assert f"python launch.py --config configs/{name}.py" in text.split('"""')[1]


def test_configs_of_earlier_versions_get_the_defaults_they_lack(tmp_path):
    config = quickstart().unlock()
    del config.model.ddpm_unet["patch"]
    del config.sampler["ddpm"]
    del config["weighting"]
    del config.train["keep_every"]
    save_config(config, tmp_path / "config.json")
    again = complete(load_config(str(tmp_path / "config.json")))
    assert dict(leaves(again)) == dict(leaves(quickstart()))


def test_sections_that_nothing_reads_are_refused():
    with pytest.raises(UserError, match="'optimizer' that task 'diffusion' does not read"):
        complete(ConfigDict({"optimizer": {"lr": 1.0}}))
    with pytest.raises(UserError, match="unknown setting of train 'step'; did you mean 'steps'"):
        build(TrainOptions, complete(ConfigDict({"train": {"step": 1}})).train, "train")


@pytest.mark.parametrize(
    "broken, named",
    [
        ({"condition": 3}, "condition=3"),
        ({"average": None}, "average=None"),
        ({"guidance": {"name": "auto", "auto": 7}}, "guidance.auto=7"),
        ({"model": {"name": "ddpm_unet", "ddpm_unet": [1]}}, "model.ddpm_unet"),
        ({"seed": "x"}, "seed='x' must be a whole number"),
        ({"task": ["x"]}, "unknown task"),
    ],
    ids=lambda v: v if isinstance(v, str) else None,
)
def test_a_setting_where_a_section_belongs_is_one_line(broken, named, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"task": "diffusion", **broken}))
    with pytest.raises(UserError) as error:
        complete(load_config(str(tmp_path / "config.json")))
    assert named in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["import os", "[" * 100_000, "\\ud800", "3"], ids=range(4))
def test_json_configs_are_data(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match="no config in JSON") as error:
        load_config(str(tmp_path / "config.json"))
    assert "\n" not in str(error.value)


def test_a_name_that_is_no_name_is_answered_with_the_names(tmp_path):
    (tmp_path / "config.json").write_text('{"schedule": {"name": {"a": 1}}}')
    config = complete(load_config(str(tmp_path / "config.json")))
    with pytest.raises(UserError, match="unknown schedule .*choose one of"):
        build(SCHEDULES, config.schedule, "schedule")


def test_errors_in_a_config_file_name_the_line(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text(
        "from configs import base\n\n\ndef get_config():\n    config = base.get_config()\n"
        "    config.train.step = 3\n    return config\n"
    )
    with pytest.raises(UserError, match="bad.py, line 6: AttributeError.*step"):
        load_config(str(file))


@pytest.mark.parametrize(
    ("takes", "given", "said"),
    [
        ("", ":tiny", r"takes no argument; leave out :tiny$"),
        ("which", "", r"needs an argument: .*one.py:<argument>$"),
    ],
)
def test_an_argument_that_does_not_fit_is_answered(takes, given, said, tmp_path):
    (tmp_path / "one.py").write_text(f"def get_config({takes}):\n    return None\n")
    with pytest.raises(UserError, match=rf"get_config\(\) in .*one.py {said}"):
        load_config(f"{tmp_path / 'one.py'}{given}")


def test_parameterised_config_files(tmp_path):
    (tmp_path / "two.py").write_text(
        "from configs import base\n\n\ndef get_config(which):\n    config = base.get_config()\n"
        "    config.seed = int(which)\n    return config\n"
    )
    assert load_config(f"{tmp_path / 'two.py'}:5").seed == 5


@pytest.mark.parametrize("task", TASKS)
def test_the_page_of_defaults_is_what_the_dataclasses_say(task):
    """Every section, every setting in the order of its dataclass, and the same values and types."""
    page, parts = DEFAULTS[task], {**COMMON, **TASKS[task].parts}
    tables = {**COMMON_TABLES, **TASKS[task].tables}
    assert page.keys() == {"task", "seed", *parts, *tables}
    for name, cls in parts.items():
        assert list(page[name].items()) == list(defaults_of(cls).items()), name
    for name, table in tables.items():
        row = page[name]["name"]
        assert page[name].keys() == {"name", row}
        assert page[name][row] == defaults_of(table[row]), name
    full = complete(ConfigDict({"task": task}))
    for key, value in leaves(ConfigDict(page)):
        assert dict(leaves(full))[key] == value and type(dict(leaves(full))[key]) is type(value)


@pytest.mark.parametrize(
    "given, names",
    [
        ("frechet,kid", ("frechet", "kid")),
        ("('frechet', 'kid')", ("frechet", "kid")),
        ("frechet, kid,", ("frechet", "kid")),
        ("bound", ("bound",)),
    ],
)
def test_several_names_may_be_given_with_commas_alone(given, names):
    config = quickstart()
    assert override(config, [f"--config.evaluate.metrics={given}"]).evaluate.metrics == names


def test_of_a_setting_that_is_given_twice_the_last_one_holds():
    twice = ["--config.evaluate.metrics=kid,mmd", "--config.seed", "3", "--config.seed=4"]
    config = override(quickstart(), [*twice, "--config.evaluate.metrics", "ode"])
    assert config.evaluate.metrics == ("ode",) and config.seed == 4


def test_commas_within_a_prompt_divide_nothing():
    config = override(quickstart(), ["--config.sample.ask=('a red, small circle',)"])
    assert config.sample.ask == ("a red, small circle",)
