"""Experiments that measure whatever runs they are given, on a tiny one."""

import importlib.util
import shutil

import pytest
from conftest import ROOT

pytestmark = pytest.mark.usefixtures("quick_compilation")


def experiment(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"experiments/{name}/run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_benchmark_measures_each_cell_once(tiny_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DDM_JAX_CACHE", str(tmp_path / "cache"))
    run, benchmark = shutil.copytree(tiny_run, tmp_path / "run"), experiment("benchmark")
    monkeypatch.setattr(benchmark, "SAMPLERS", ("ddim", "heun"))
    monkeypatch.setattr(benchmark, "BUDGETS", (4,))
    few = [f"--config.evaluate.{s}" for s in ("samples=16", "reference_count=60", "batch=16")]
    arguments = [str(run), *few, "--scales", "1,2", "--out", str(tmp_path / "a.png")]
    benchmark.main(arguments)
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    cells = [tuple(part.strip() for part in line.split("|")[1:5]) for line in table[2:]]
    assert cells == [
        ("run", "ddim", "4", "1"),
        ("run", "heun", "3", "1"),
        ("run", "ddim", "4", "2"),
        ("run", "heun", "3", "2"),
    ]
    distances = {line.split("|")[5] for line in table[2:]}
    assert len(distances) == 4 and (tmp_path / "a.png").stat().st_size > 5000
    monkeypatch.setattr(benchmark.verbs, "evaluate", None)
    benchmark.main(arguments)  # all of it is there
    assert [line for line in capsys.readouterr().out.splitlines() if line[0] == "|"] == table
