"""What the README shows runs, commands shrunk to seconds, and what it names is there.

Commands for several hosts are parsed alone, and setup commands compared with those of CI.
"""

import importlib
import re
import shlex
import shutil
from collections.abc import Iterable

import pytest
from conftest import (
    FAST,
    OF_CLASSIFIERS,
    ROOT,
    SHARED,
    TINY,
    TINY_TEXT,
    TINY_UNET,
    keys,
    trained_once,
)
from PIL import Image

import launch
from ddm_jax.command_line import parse
from ddm_jax.config.load import default_workdir, load_config
from ddm_jax.config.tables import COMMON_TABLES
from ddm_jax.diffusion.losses.time_samplers import UNIFORMS
from ddm_jax.tasks.diffusion import Diffusion

README = (ROOT / "README.md").read_text()
ONE_OF_SEVERAL = ("--distributed", "--coordinator")


def commands_of(text: str) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    return [part.strip() for b in blocks for line in b.splitlines() for part in line.split("&&")]


def launches(commands: Iterable[str]) -> list[str]:
    return [command for command in commands if command.startswith("python launch.py")]


def alone(commands: Iterable[str]) -> list[str]:
    """Those that are for one process."""
    return [c for c in commands if not any(flag in c for flag in ONE_OF_SEVERAL)]


COMMANDS = commands_of(README)
LAUNCHES = launches(COMMANDS)
# The commands of each part, by its title.
PARTS = {
    part.partition("\n")[0]: commands
    for part in re.split(r"\n## ", README)
    if (commands := alone(launches(commands_of(part))))
}


def test_the_setup_commands_are_those_of_ci():
    setup = {c for c in COMMANDS if c not in LAUNCHES}
    assert setup == {'pip install -e ".[test]"', "pytest"}
    script = (ROOT / ".ci/run").read_text()
    assert '/pip" install -e ".[test]"\n' in script and "\n  pytest\n" in script


# What makes a mode take seconds, and the training of a config other than the quickstart.
FEWER = {
    "sample": keys("sample.steps=3"),
    "edit": keys("sample.steps=3"),
    "encode": keys("sample.steps=3", "sample.count=20"),
    "doctor": keys("doctor.examples=8", "doctor.levels=3", "doctor.samples=0"),
    "evaluate": keys("evaluate.count=4", "evaluate.steps=4", "evaluate.ode_steps=3")
    + keys("evaluate.samples=20", "evaluate.reference_count=40"),
}
FEW = ("train.steps=2", "train.batch=8", "train.sample_every=0", "optim.warmup=0")
SMALL = (*TINY_UNET, "--config.model.ddpm_unet.attention=()")
SMALLER = {
    "configs/shapes_text.py": TINY_TEXT,
    "configs/digits_latent.py:autoencoder": keys(
        *("model.conv.channels=8", "model.conv.multipliers=(1,1)", "model.conv.attention=False"),
        *FEW,
    ),
    "configs/digits_classifier.py": keys(
        *(f"model.unet_encoder.{s}" for s in OF_CLASSIFIERS), *FEW
    ),
}


def reads_set(shown: str) -> bool:
    return "fashion" in shown or "cifar" in shown


def needs_sets(shown: str) -> bool:
    """Whether a command reads what is prepared in the development data, or a run that did."""
    return reads_set(shown) or "runs/imported" in shown


def shrunk(shown: str) -> list[str]:
    """The arguments of a command, and settings with which it takes seconds."""
    arguments = [argument.replace("@1600", "@6") for argument in shlex.split(shown)[2:]]
    flags, overrides = parse(arguments)
    config = flags.config or ""
    if reads_set(shown):
        arguments += keys(f"data.dir={SHARED / 'tfds'}", "data.split=test")
    if "cifar" in config:
        arguments += keys("data.size=8")
    if flags.mode == "import":
        return arguments + keys("data.channels=1")
    if flags.mode == "evaluate" and flags.workdir == "runs/digits_classifier":
        return arguments + keys("evaluate.count=4", "evaluate.levels=2")
    if flags.mode != "train":
        return arguments + FEWER.get(flags.mode, [])
    if config.endswith("config.json"):
        return arguments
    given = "".join((*overrides, *(flags.sweep or ())))
    settings = SMALL if "ddpm_unet" in given else SMALLER.get(config, TINY)
    few = [s for s in settings if s.partition("=")[0].removeprefix("--config.") not in given]
    if "train.steps=" in given:
        few += keys("train.steps=8")
    if "evaluate_every" in given:
        few += keys("train.evaluate_every=3", "evaluate.samples=8", "evaluate.reference_count=9")
    return arguments + few


def trains(shown: str) -> str | None:
    """The folder of the run that a command trains."""
    flags, _ = parse(shlex.split(shown)[2:])
    if flags.mode == "train" and not flags.sweep and not flags.dry_run:
        return str(flags.workdir or default_workdir(flags.config))
    return None


def borrowed(part: str) -> dict[str, str]:
    """Runs that a part needs and that another part trains, by folder with their commands."""
    known: dict[str, str] = {}
    for shown in LAUNCHES:
        known.setdefault(trains(shown) or "", shown)
    own, needed = set(), {}
    for shown in PARTS[part]:
        used = set(re.findall(r"runs/\w+", shown)) - own - {trains(shown)}
        needed |= {folder: known[folder] for folder in used if folder in known}
        own.add(trains(shown))
    return needed


# What must lie there after a part: so many files, with this text but for spaces.
LEFT = {
    "The command line": {
        "runs/quickstart/checkpoints/8": (1, ""),
        "runs/student/borrowed.json": (1, "sha256"),
    },
    "Sweeps": {
        "runs/quickstart_sweep/*/samples/step_6.png": (3, ""),
        "runs/quickstart_sweep/sweep.html": (1, "channels=32,lr=0.001"),
    },
    "Pictures as a condition": {
        "runs/pairs/data.json": (1, '"picture":[32,32,3]'),
        "runs/shapes_upscale/samples/*.npz": (1, ""),
    },
    "Measuring": {"report.html": (1, "quickstart"), "runs/quickstart/doctor/*.json": (1, "")},
    "Your own data": {
        "runs/mine/samples": (1, ""),
        "runs/folder_my_images/samples": (1, ""),
        "runs/mine/data_report.json": (1, '"file":"blue/broken.png"'),
    },
}


def test_what_parts_leave_is_asked_of_parts_that_exist():
    assert LEFT.keys() <= PARTS.keys()
    assert sum(map(len, PARTS.values())) == len(alone(LAUNCHES)) > 50


@pytest.mark.telling
@pytest.mark.slow
@pytest.mark.parametrize(
    "part", [pytest.param(p, marks=pytest.mark.xdist_group(f"README: {p}")) for p in PARTS]
)
def test_launch_commands_run_in_the_order_shown(
    part, tmp_path, tmp_path_factory, monkeypatch, capsys, quick_compilation
):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    for name, value in FAST.items():  # for the cells of sweeps
        monkeypatch.setenv(name, value)
    users_files(tmp_path)
    for folder, shown in borrowed(part).items():
        name = f"README_{folder.replace('/', '_')}"
        shutil.move(trained_once(tmp_path_factory, name, shrunk(shown)), tmp_path / folder)
    for shown in PARTS[part]:
        if needs_sets(shown) and not (SHARED / "tfds").exists():
            continue
        well = (0, 1) if "doctor" in shown else (0,)  # a run of a few steps is not healthy
        assert launch.main(shrunk(shown)) in well, shown + capsys.readouterr().err
    for pattern, (count, text) in LEFT.get(part, {}).items():
        found = list(tmp_path.glob(pattern))
        assert len(found) == count, (pattern, found)
        assert not text or text in "".join(found[0].read_text().split()), pattern


def users_files(folder):
    """What a user has who types the commands: images, pairs, a mask, a network of diffusers."""
    for name in ("red/a.png", "blue/b.png", "blue/c.jpg"):
        (folder / "my_images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 50), name.split("/")[0]).save(folder / "my_images" / name)
    (folder / "my_images/blue/broken.png").write_text("no picture")
    Image.new("L", (40, 50), "white").save(folder / "me.png")
    mask = Image.new("L", (40, 50), "black")
    mask.paste("white", (0, 0, 20, 50))
    mask.save(folder / "mask.png")
    for name in ("small.png", "my_pairs/input/a.png", "my_pairs/target/a.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 30), "red").save(folder / name)
    shutil.copytree(ROOT / "tests/exchange/pipeline", folder / "ddpm-cifar10-32")


def test_the_steps_that_are_named_are_those_of_the_quickstart():
    """It is trained on, and its step of before, by which samples are guided, is kept then."""
    train = load_config(str(ROOT / "configs/quickstart.py")).train
    (longer,) = re.findall(r"quickstart\.py --config\.train\.steps=(\d+)", README)
    (kept,) = re.findall(r"runs/quickstart@(\d+)", README)
    assert int(kept) == train.steps == int(longer) - train.save_every and train.keep == 2


@pytest.mark.parametrize("flag", ONE_OF_SEVERAL)
def test_commands_for_several_hosts_are_understood(flag):
    (shown,) = (c for c in LAUNCHES if flag in c)
    flags, overrides = parse(shlex.split(shown)[2:])
    assert overrides == [] and flags.config == "configs/cifar_cosine.py"
    assert flags.distributed or (flags.coordinator, flags.processes, flags.process) == (
        "host0:1234",
        2,
        0,
    )


def test_configs_and_files_that_are_named_exist():
    for path in re.findall(r"(?:configs|experiments|constraints)/[\w./]+\w", README):
        if "runs/" not in path:
            assert (ROOT / path).exists(), path
    for config in (ROOT / "configs").glob("*.py"):
        assert f"configs/{config.name}" in README


def test_functions_and_rows_that_are_named_exist():
    section = README.split("## Formulas and functions")[1].split("\n## ")[0]
    names = re.findall(r"`(\w[\w.]*)\.(\w+)", section)
    assert len(names) > 20, names
    for module, name in names:
        assert hasattr(importlib.import_module(f"ddm_jax.diffusion.{module}"), name), name
    choices = README.split("| section | choices |")[1].split("\n\n")[0]
    for row in choices.splitlines()[2:]:
        section, text = (cell.strip() for cell in row.strip("|").split("|", 1))
        table = {**COMMON_TABLES, **Diffusion.tables}[section.strip("`")]
        named = set(re.findall(r"`(\w+)`", text)) - {"zero_terminal", *UNIFORMS}
        assert named <= table.keys(), section


def test_the_python_example_runs(capsys):
    (example,) = (b for b in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "print" in b)
    exec(compile(example, "README.md", "exec"), {})
    mean, std = map(float, capsys.readouterr().out.split())
    assert mean == pytest.approx(2.0, abs=0.03) and std == pytest.approx(0.5, abs=0.03)
