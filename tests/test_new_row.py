"""A row that is added to a table is at once in the config, on the command line, under the laws."""

import subprocess
import sys

import pytest
from conftest import ROOT, environment

ROWS = {
    "schedule": "square",
    "prediction": "residual",
    "weighting": "root_snr",
    "timesteps": "cubic",
    "sampler": "plain",
    "distance": "quartic",
    "time_sampler": "root",
    "noise_cond": "noise_rate",
    "objective": "doubled",
}


def python(*arguments):
    """Python with tests/new_rows.py, which adds ROWS, on its path."""
    env = {**environment(), "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
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


@pytest.mark.slow
def test_new_rows_are_under_the_laws_and_obey_them():
    """Every parametrised law runs for them, in the test files as they are."""
    select = " or ".join(ROWS.values())
    result = python("-m", "pytest", "-n0", "-p", "new_rows", "-v", "tests/diffusion", "-k", select)
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
    for name in ("command_line", "sweep", "verbs", "runs", "config", "recipe", "diffusion"):
        assert name in floors
    for row in ROWS:
        assert row in (ROOT / "CONTRIBUTING.md").read_text()
