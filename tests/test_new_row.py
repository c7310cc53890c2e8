"""A row that is added to a table is at once in the config, on the command line, under the laws."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import FAST, ROOT, as_trained, environment
from sklearn.datasets import load_digits

pytestmark = pytest.mark.slow

ROWS = {
    "codec": "halved",
    "schedule": "square",
    "prediction": "residual",
    "weighting": "root_snr",
    "timesteps": "cubic",
    "sampler": "plain",
    "distance": "quartic",
    "time_sampler": "root",
    "noise_cond": "noise_rate",
    "objective": "doubled",
    "average": "running_mean",
    "augment": "negative",
    "condition": "oddness",
    "guidance": "negated",
    "edit": "opposite",
    "features": "averaged",
}
LAWS = (
    "tests/diffusion",
    "tests/training/test_averages.py",
    "tests/data/test_codecs.py",
    "tests/models/test_condition_rows.py",
    "tests/data/test_augments.py",
    "tests/tasks/test_edits.py",
    "tests/models/test_features.py",
)


def python(*arguments, **environ):
    """Python with tests/new_rows.py, which adds ROWS, on its path."""
    env = {**environment(), "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", **environ}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=env, text=True, capture_output=True, timeout=600
    )


def test_new_rows_are_in_the_config_and_on_the_command_line(tmp_path):
    arguments = ["--config", "configs/quickstart.py", "--dry_run", "--workdir", str(tmp_path)]
    arguments += [f"--config.{section}.name={row}" for section, row in ROWS.items()]
    code = "import new_rows, sys, launch; sys.exit(launch.main(sys.argv[1:]))"
    result = python("-c", code, *arguments, "--config.schedule.square.low=0.03")
    assert result.returncode == 0, result.stderr
    for section, row in ROWS.items():
        assert f"  --config.{section}.name={row!r}" in result.stdout
    assert "  --config.schedule.square.low=0.03" in result.stdout
    wrong = python("-c", code, *arguments, "--config.schedule.name=squar")
    assert wrong.returncode == 2 and "did you mean 'square'" in wrong.stderr


def test_new_metrics_and_edits_are_on_the_command_line(tiny_run, tmp_path):
    run = tmp_path / "run"
    as_trained(tiny_run, run)
    metric = ("--mode", "evaluate", "--config.evaluate.metrics=('brightness',)")
    edit = ("--mode", "edit", "--config.edit.name=opposite", "--config.edit.opposite.count=2")
    wrong = ("--mode", "edit", "--config.edit.name=oposite")
    commands = [[*verb, "--workdir", str(run)] for verb in (metric, edit, wrong)]
    code = "import new_rows, json, launch, sys; [*map(launch.main, json.loads(sys.argv[1]))]"
    result = python("-c", code, json.dumps(commands), **FAST)
    assert "brightness 0.3" in result.stdout, result.stderr
    assert "step_6_opposite_ddim_3" in result.stdout, result.stderr
    assert "did you mean 'opposite'" in result.stderr and result.stderr.count("\n") == 1


def test_a_new_task_is_trained_and_resumed_by_the_same_loop(tmp_path):
    """The mean of the digits, which SGD finds; what it has no use for is one line."""
    file = tmp_path / "configs" / "mean.py"
    file.parent.mkdir()
    file.write_text(
        "from ml_collections import ConfigDict\n"
        "from ddm_jax.config.tables import complete\n\n\n"
        "def get_config():\n"
        "    config = complete(ConfigDict({'task': 'mean'}))\n"
        "    config.optim.update(name='sgd', lr=20.0, clip=0.0)\n"
        "    config.average.ema.decay = 0.9\n"
        "    config.train.update(steps=60, batch=128, log_every=10)\n"
        "    return config\n"
    )
    train = ["--config", str(file), "--workdir", str(tmp_path / "run")]
    longer = [*train, "--config.train.steps=90"]
    sample = ["--mode", "sample", "--workdir", str(tmp_path / "run")]
    section = [*train, "--config.sampler.name=ddim"]
    code = "import new_rows, json, launch, sys; [*map(launch.main, json.loads(sys.argv[1]))]"
    commands = json.dumps([train, longer, sample, section])
    result = python("-c", code, commands, **FAST)
    assert "finished step 60" in result.stdout and "resuming at step 60" in result.stdout
    assert "it can only be trained" in result.stderr and "'sampler.name'" in result.stderr
    assert "Traceback" not in result.stderr
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    images = load_digits().images / 8 - 1  # to [-1, 1]
    assert last["loss"] == pytest.approx(images.var(0).mean(), rel=0.05)
    assert "loss_by_level" not in last


@pytest.mark.telling
def test_a_new_kind_of_data_is_trained_on_drawn_and_sampled(tmp_path):
    """A source of floats, a codec and an artist: nothing else knows that these are no images."""
    settings = (
        "data.name=sines",
        "codec.name=halved",
        "model.name=mlp",
        "model.mlp.hidden=(64,)",
        "loss.class_dropout=0",
        "train.steps=2",
        "train.batch=8",
        "optim.warmup=0",
        "condition.name=nothing",
        "guidance.name=none",
        "sample.count=5",
        "sample.steps=3",
        "sample.film=2",
    )
    run = tmp_path / "run"
    train = ["--config", "configs/quickstart.py", *(f"--config.{setting}" for setting in settings)]
    verbs = [train, *(["--mode", verb] for verb in ("sample", "edit", "evaluate"))]
    commands = [[*arguments, "--workdir", str(run)] for arguments in verbs]
    code = "import new_rows, json, launch, sys; [*map(launch.main, json.loads(sys.argv[1]))]"
    result = python("-c", code, json.dumps(commands), **FAST)
    assert "Traceback" not in result.stderr, result.stderr
    spec = json.loads((run / "data.json").read_text())
    assert (spec["kind"], spec["levels"], spec["rate"]) == ("track", 0, 8000)
    samples = run / "samples"
    assert (samples / "step_2.png").read_text() == "grid (5, 16, 1) -1 1 True"
    assert (samples / "step_2_film.png").read_text() == "reverse (3, 2, 16, 1) -1 1 True"
    assert (samples / "step_2_film.gif").read_text() == "animation (4, 2, 16, 1) -1 1 True"
    assert (run / "forward.png").read_text() == "forward (8, 6, 16, 1) -1 1 True"
    (arrays,) = samples.glob("*.npz")
    with np.load(arrays) as found:
        assert found["images"].dtype == np.float32 and found["images"].min() < 0
    (walk,) = (run / "edits").glob("*.png")
    assert walk.read_text() == "strip (1, 10, 16, 1) -1 1 True"
    assert "bits per dimension are of values with levels" in result.stderr


@pytest.mark.telling
def test_new_rows_are_under_the_laws_and_obey_them():
    """Every parametrised law runs for them, in the test files as they are."""
    select = " or ".join(ROWS.values())
    result = python("-m", "pytest", "-n0", "-p", "new_rows", "-v", *LAWS, "-k", select)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr
    for row in ROWS.values():
        passed = [line for line in result.stdout.splitlines() if row in line and "PASSED" in line]
        assert len(passed) >= 2, f"{row}: {passed}"


def test_the_guides_show_a_row_that_is_tried():
    """The smallest row, as README and CONTRIBUTING have it, is one of new_rows."""
    rows = (ROOT / "tests/new_rows.py").read_text()
    for guide in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / guide).read_text()
        shown = text.split("class Quartic", 1)[1].split("\n\n\n", 1)[0]
        assert f"class Quartic{shown}\n" in rows, guide
        assert '"quartic": Quartic}' in text
    floors = (ROOT / "CONTRIBUTING.md").read_text().split("## The house")[1].split("\n## ")[0]
    for name in ("command_line", "sweep", "verbs", "runs", "config", "tasks", "diffusion"):
        assert name in floors
    for row in ROWS:
        assert row in (ROOT / "CONTRIBUTING.md").read_text()
