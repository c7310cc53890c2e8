"""What the README shows runs, commands shrunk to seconds, and what it names is there.

Commands for several hosts are parsed alone, and setup commands compared with those of CI.
"""

import importlib
import json
import re
import shlex
import shutil

import pytest
from conftest import FAST, ROOT, SHARED, TINY_CODER, TINY_TEXT, TINY_UNET
from PIL import Image

import launch
from ddm_jax.command_line import parse
from ddm_jax.config.tables import COMMON_TABLES
from ddm_jax.diffusion.losses.time_samplers import UNIFORMS
from ddm_jax.tasks.diffusion import Diffusion

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    part.strip() for block in BLOCKS for line in block.splitlines() for part in line.split("&&")
]
LAUNCHES = [c for c in COMMANDS if c.startswith("python launch.py")]
# TINY_UNET shrinks the quickstart's model; the others need a patch and sizes of their own.
SMALL = (*TINY_UNET, "--config.model.ddpm_unet.attention=()")
ONE_OF_SEVERAL = ("--distributed", "--coordinator")


def test_the_setup_commands_are_those_of_ci():
    setup = {c for c in COMMANDS if c not in LAUNCHES}
    assert setup == {'pip install -e ".[test]"', "pytest"}
    script = (ROOT / ".ci/run").read_text()
    assert 'pip install --quiet -e ".[test]"' in script and "\npytest\n" in script


@pytest.mark.telling
@pytest.mark.slow
def test_launch_commands_run_in_the_order_shown(tmp_path, monkeypatch, capsys, quick_compilation):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    for name, value in FAST.items():  # for the cells of sweeps
        monkeypatch.setenv(name, value)
    for name in ("red/a.png", "blue/b.png", "blue/c.jpg"):
        (tmp_path / "my_images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 50), name.split("/")[0]).save(tmp_path / "my_images" / name)
    (tmp_path / "my_images/blue/broken.png").write_text("no picture")
    Image.new("L", (40, 50), "white").save(tmp_path / "me.png")
    mask = Image.new("L", (40, 50), "black")
    mask.paste("white", (0, 0, 20, 50))
    mask.save(tmp_path / "mask.png")
    for name in ("small.png", "my_pairs/input/a.png", "my_pairs/target/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 30), "red").save(tmp_path / name)
    shutil.copytree(ROOT / "tests/exchange/pipeline", tmp_path / "ddpm-cifar10-32")
    ran = 0
    for shown in LAUNCHES:
        arguments = shlex.split(shown)[2:]
        if any(flag in arguments for flag in ONE_OF_SEVERAL):
            continue
        if "fashion" in shown or "cifar" in shown:
            if not (SHARED / "tfds").exists():
                continue
            arguments += [f"--config.data.dir={SHARED / 'tfds'}", "--config.data.split=test"]
        if "runs/imported" in shown and not (SHARED / "tfds").exists():
            continue
        if "cifar" in shown:
            arguments.append("--config.data.size=8")
        if "import" in arguments:
            arguments.append("--config.data.channels=1")
        arguments = [argument.replace("@500", "@6") for argument in arguments]
        if "configs/shapes_text.py" in arguments:
            arguments += TINY_TEXT
        elif "configs/digits_latent.py:autoencoder" in arguments:
            arguments += TINY_CODER
        elif "configs/digits_classifier.py" in arguments:
            arguments += [f"--config.train.{s}" for s in ("steps=2", "batch=8", "sample_every=0")]
            arguments.append("--config.optim.warmup=0")
        elif "runs/digits_classifier" in arguments:
            arguments += ["--config.evaluate.count=4", "--config.evaluate.levels=2"]
        elif "evaluate" in arguments:
            few = ("count=4", "steps=4", "ode_steps=3", "samples=20", "reference_count=40")
            arguments += [f"--config.evaluate.{s}" for s in few]
        elif "doctor" in arguments:
            arguments += [f"--config.doctor.{s}" for s in ("examples=8", "levels=3", "samples=0")]
        elif "report" in arguments:
            pass
        elif "--mode" in arguments:
            arguments.append("--config.sample.steps=3")
        elif "runs/quickstart/config.json" not in arguments:
            swept = re.findall(r"[\w.]+(?=[,)=])", shown) if "--sweep" in shown else ()
            arguments += [a for a in SMALL if a.partition("=")[0][9:] not in swept]
            if "steps=600" in shown:
                arguments.append("--config.train.steps=8")
            elif "evaluate_every" in shown:
                few = ("train.evaluate_every=3", "evaluate.samples=8", "evaluate.reference_count=9")
                arguments += [f"--config.{s}" for s in few]
        well = (0, 1) if "doctor" in arguments else (0,)  # a run of a few steps is not healthy
        assert launch.main(arguments) in well, shown + capsys.readouterr().err
        ran += 1
    assert ran >= len(LAUNCHES) - 6
    assert (tmp_path / "runs/quickstart/checkpoints/8").exists()
    assert (tmp_path / "runs/mine/samples").exists()
    assert json.loads((tmp_path / "runs/pairs/data.json").read_text())["picture"] == [32, 32, 3]
    assert list((tmp_path / "runs/shapes_upscale/samples").glob("*.npz"))
    assert (tmp_path / "runs/student/borrowed.json").exists()
    assert len(list(tmp_path.glob("runs/quickstart_sweep/*/samples/step_6.png"))) == 3
    assert "channels=32,lr=0.001" in (tmp_path / "runs/quickstart_sweep/sweep.html").read_text()
    (left_out,) = json.loads((tmp_path / "runs/mine/data_report.json").read_text())
    assert left_out["file"] == "blue/broken.png"


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
