"""Sweeps that are killed, stopped or submitted: whole in the end, as if nothing had happened."""

import functools
import json
import os
import signal
import time
from pathlib import Path

import conftest
import pytest
from conftest import FAST, TINY

from ddm_jax.training import logs
from ddm_jax.training.checkpoint import Checkpoints

QUICK = (
    *("--config", "configs/quickstart.py", *TINY),
    "--config.condition.name=nothing",
    *("--config.model.name=mlp", "--config.model.mlp.hidden=(64,)"),
    "--config.train.batch=8",
    "--config.train.log_every=1",
    "--config.sample.count=2",
    "--config.guidance.name=none",
)
STEPS = 24
TWELVE = (
    *QUICK,
    f"--config.train.steps={STEPS}",
    "--config.train.save_every=6",
    *("--sweep", "seed=0,1,2", "--sweep", "prediction.name=eps,v"),
    *("--sweep", "(sample.seed,augment.name)=(1,none),(2,mirror)"),
    *("--sweep_workers", "2"),
)


start = functools.partial(
    conftest.start,
    **FAST,
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
    JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES="-1",
)


def rows(cell):
    return logs.read(cell / "metrics.jsonl")


def results(folder):
    """{cell: (digests of the last checkpoint, rows without times)}."""
    found = {}
    for cell in sorted(path for path in folder.iterdir() if path.is_dir()):
        step = Checkpoints(cell / "checkpoints", read_only=True).steps()[0]
        sums = json.loads((cell / "checkpoints" / str(step) / "sha256/metadata").read_text())
        assert {"params", "ema_params"} <= sums.keys()
        timeless = [{k: v for k, v in r.items() if k != "images_per_s"} for r in rows(cell)]
        found[cell.name] = step, sums, timeless, (cell / f"samples/step_{step}.png").read_bytes()
    return found


def wait_until_a_run_is_midway(process, folder, ended):
    """Until `ended` cells have ended and another has a checkpoint and steps to go."""
    seen = 0
    while seen < ended:
        line = process.stdout.readline()
        assert line, "the sweep ended before it could be killed"
        seen += " of 12: " in line
    while not any(
        any(path.name.isdigit() for path in cell.glob("checkpoints/*"))
        and len(rows(cell)) < STEPS - 3
        for cell in folder.iterdir()
    ):
        assert process.poll() is None
        time.sleep(0.01)


def children(process):
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return list(map(int, listed.split()))


@pytest.mark.slow
def test_twelve_cells_end_as_if_nothing_had_killed_the_sweep(tmp_path):
    """SIGKILL of the sweep alone, then of the sweep and its runs; each time started again."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(*TWELVE, "--workdir", whole)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out

    process = start(*TWELVE, "--workdir", killed)
    wait_until_a_run_is_midway(process, killed, 2)
    orphans = children(process)
    process.kill()
    process.communicate()

    process = start(*TWELVE, "--workdir", killed)
    wait_until_a_run_is_midway(process, killed, 2)
    assert not set(orphans) & {int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()}
    runs = children(process)
    process.kill()
    for run in runs:
        os.kill(run, signal.SIGKILL)
    process.communicate()

    process = start(*TWELVE, "--workdir", killed)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out
    assert "12 cells, 0 of them" not in out and "12 of 12: " in out
    output = {cell: (cell / "log.txt").read_text() for cell in killed.iterdir() if cell.is_dir()}
    assert len(output) == 12
    assert sum("resuming at step" in text for text in output.values()) >= 1
    for cell, text in output.items():
        assert text.count("finished step") == 1, cell
        assert [row["step"] for row in rows(cell)] == list(range(1, STEPS + 1)), cell
    assert results(killed) == results(whole)


@pytest.mark.slow
def test_sigterm_is_passed_on_and_no_step_is_lost(tmp_path):
    endless = ("--config.train.steps=100000", "--config.train.save_every=100000")
    swept = ("--sweep", "seed=0,1,2", "--sweep_workers", "2", "--workdir", tmp_path)
    process = start(*QUICK, *endless, *swept)
    cells = [tmp_path / "seed=0", tmp_path / "seed=1"]
    while not all(len(rows(cell)) >= 3 for cell in cells):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 143, out
    assert out.splitlines()[-1] == "stopped by signal 15; the same command goes on"
    assert not (tmp_path / "seed=2").exists()
    for cell in cells:
        saved = Checkpoints(cell / "checkpoints", read_only=True).steps()
        assert saved == [rows(cell)[-1]["step"]] and saved[0] >= 3
        assert not (cell / "error.txt").exists()


@pytest.mark.slow
def test_jobs_of_submitit_train_a_cell_each(tmp_path):
    pytest.importorskip("submitit", reason='needs submitit: pip install -e ".[slurm]"')
    arguments = (
        *QUICK,
        "--config.train.steps=2",
        *("--sweep", "seed=0,1", "--workdir", tmp_path / "sweep"),
        *("--sweep_submit", "local", "--sweep_submit_options", "timeout_min=10"),
    )
    for finished in (0, 2):
        process = start(*arguments)
        out, _ = process.communicate(timeout=300)
        assert process.returncode == 0, out
        assert f"2 cells, {finished} of them finished before" in out
        assert len(list((tmp_path / "sweep/jobs").glob("*_log.out"))) == 2
    for seed in (0, 1):
        assert [r["step"] for r in rows(tmp_path / f"sweep/seed={seed}")] == [1, 2]
