"""Experiments that measure whatever runs they are given, on a tiny one."""

import importlib.util
import shutil

import pytest
from conftest import ROOT

from ddm_jax.models.kernels import FLAG, known

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


@pytest.mark.skipif(not known(FLAG), reason="this version of XLA has no YNNPACK")
def test_both_kinds_of_convolution_are_compared_and_timed(monkeypatch, capsys):
    convolutions = experiment("convolutions")
    monkeypatch.setattr(convolutions, "SIZES", ((2, 8, 16, 8, 3), (2, 4, 8, 16, 1)))
    monkeypatch.setattr(convolutions, "FEW", ((2, 2, 4, 4, 3),))
    monkeypatch.setattr(convolutions, "REPEATS", 2)
    convolutions.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 2, ")]
    assert [row.split("|")[1].strip() for row in rows] == [
        "2, 8, 16 to 8, 3 x 3",
        "2, 4, 8 to 16, 1 x 1",
        "2, 2, 4 to 4, 3 x 3",
    ]
    assert all(float(cell) >= 0 for row in rows for cell in row.split("|")[2:-1])
