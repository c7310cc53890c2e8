"""Experiments that measure whatever runs they are given, on a tiny one."""

import importlib.util
import json
from argparse import ArgumentTypeError

import numpy as np
import pytest
from conftest import ROOT, TINY, as_trained

from ddm_jax.answering import above_zero, answered, count, numbers
from ddm_jax.errors import UserError
from ddm_jax.models.kernels import FLAG, known
from ddm_jax.verbs.profiling import operations

pytestmark = pytest.mark.usefixtures("quick_compilation")


def experiment(name, script="run"):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"experiments/{name}/{script}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPTS = [
    path.relative_to(ROOT / "experiments")
    for path in sorted(ROOT.glob("experiments/*/*.py"))
    if "__main__" in path.read_text()
]


@pytest.mark.parametrize("path", SCRIPTS, ids=str)
def test_every_script_answers_what_it_does_not_know_in_a_line(path, capsys, at_root):
    if str(path) == "speed/run.py":
        pytest.importorskip("diffusers")
    script = experiment(path.parent.name, path.stem)
    code = answered(lambda: script.main(["--nonsense"]))
    out, err = capsys.readouterr()
    assert (code, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1, err
    assert "answered(lambda: main(sys.argv[1:]))" in (ROOT / "experiments" / path).read_text()


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", "", "\u00b2"])
def test_a_count_is_a_whole_number_from_1_on(text):
    with pytest.raises(ArgumentTypeError, match="from 1 on"):
        count(text)
    assert count("12") == 12


@pytest.mark.parametrize("text", ["x", "1,,2", "", "nan", "1,inf"])
def test_numbers_are_finite(text):
    with pytest.raises(ArgumentTypeError, match="finite numbers"):
        numbers(text)
    assert numbers("1,1.5") == [1, 1.5]


@pytest.mark.parametrize("text", ["0", "-2", "1,2"])
def test_what_must_be_above_0_is_one_number(text):
    with pytest.raises(ArgumentTypeError, match="no number above 0"):
        above_zero(text)
    assert above_zero("0.5") == 0.5


@pytest.mark.slow
def test_the_benchmark_measures_each_cell_once(tiny_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DDM_JAX_CACHE", str(tmp_path / "cache"))
    run, benchmark = as_trained(tiny_run, tmp_path / "run"), experiment("benchmark")
    few = [f"--config.evaluate.{s}" for s in ("samples=16", "reference_count=60", "batch=16")]
    grid = ["--samplers", "ddim,heun", "--budgets", "4", "--scales", "1,2"]
    arguments = [str(run), *few, *grid, "--out", str(tmp_path / "a.png")]
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


def test_the_benchmark_refuses_a_run_without_samples(tiny_classifier):
    with pytest.raises(UserError, match="name runs of diffusion"):
        experiment("benchmark").main([str(tiny_classifier)])


@pytest.mark.skipif(not known(FLAG), reason="this version of XLA has no YNNPACK")
def test_both_kinds_of_convolution_are_compared_and_timed(monkeypatch, capsys):
    convolutions = experiment("convolutions")
    monkeypatch.setattr(convolutions, "SIZES", ((2, 8, 16, 8, 3), (2, 4, 8, 16, 1)))
    monkeypatch.setattr(convolutions, "FEW", ((2, 2, 4, 4, 3),))
    monkeypatch.setattr(convolutions, "LOOPED", convolutions.SIZES)
    monkeypatch.setattr(convolutions, "UP", ((2, 4, 3, 5, 3),))
    monkeypatch.setattr(convolutions, "REPEATS", 2)
    convolutions.main([])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 2, ")]
    assert [row.split("|")[1].strip() for row in rows] == [
        *(sizes := ["2, 8, 16 to 8, 3 x 3", "2, 4, 8 to 16, 1 x 1"]),
        "2, 2, 4 to 4, 3 x 3",
        "2, 4, 3 to 5, 3 x 3",
        *sizes,
    ]
    assert all(float(cell) >= 0 for row in rows for cell in row.split("|")[2:-1])


@pytest.mark.slow
def test_recipes_are_timed_trained_and_measured_once(tmp_path, monkeypatch, capsys):
    """Those of equal cost have equal steps; what is there is not made again."""
    monkeypatch.setenv("DDM_JAX_CACHE", str(tmp_path / "cache"))
    recipes = experiment("recipes")
    monkeypatch.setattr(recipes, "CONFIG", str(ROOT / "configs/quickstart.py"))
    tiny = [text.removeprefix("--config.") for text in TINY]
    monkeypatch.setattr(recipes, "START", (*tiny, "optim.name=adam", "sample.film=0"))
    few = ("samples=16", "reference_count=60", "batch=16", "metrics=frechet,kid,precision_recall")
    how = [f"evaluate.{text}" for text in few]
    monkeypatch.setattr(recipes, "MEASURE", (*how, "features.name=pixels", "sample.steps=2"))
    rows = {"one": (), "faster": ("optim.lr=1e-2",), "muon": ("optim.name=muon",)}
    monkeypatch.setattr(recipes, "RECIPES", rows)
    arguments = ("--minutes", "0.0005", "--runs", str(tmp_path / "runs"))
    recipes.main(arguments)
    table = [line for line in capsys.readouterr().out.splitlines() if line[:1] == "|"][-3:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]
    assert [row[0] for row in cells] == [*rows]
    assert cells[0][1:4] == cells[1][1:4] and len({row[4] for row in cells}) == 3
    costs = json.loads((tmp_path / "runs/costs.json").read_text())
    assert len(costs) == 2
    for name in rows:
        done = json.loads((tmp_path / f"runs/0.0005min_{name}_0/done.json").read_text())
        (ms,) = {cost["ms"] for key, cost in costs.items() if ("muon" in key) == (name == "muon")}
        assert done["step"] == max(round(60e3 * 0.0005 / ms), 1)
    for verb in ("train", "evaluate"):
        monkeypatch.setattr(recipes.verbs, verb, None)
    recipes.main(arguments)
    assert capsys.readouterr().out.splitlines()[-4:-1] == table
    noise = np.random.default_rng(0).normal(size=(200, 8, 8, 1))
    assert recipes.lattice(noise) == pytest.approx(1, rel=0.1)
    dots = np.zeros((8, 8))
    dots[::2, ::2] = 1
    assert recipes.lattice(noise + dots[..., None]) > 3
    with pytest.raises(UserError, match="'two' is no recipe; take some of one; faster; muon"):
        recipes.main((*arguments, "--only", "two"))


@pytest.mark.slow
def test_the_network_in_torch_has_the_same_gradient_and_both_are_timed(
    tmp_path, monkeypatch, capsys
):
    pytest.importorskip("torch_side")
    speed = experiment("speed")
    sizes = ("channels=8", "groups=4", "multipliers=(1,)", "attention=()", "blocks=1")
    settings = [f"--config.model.ddpm_unet.{text}" for text in sizes]
    monkeypatch.setattr(speed, "alone", lambda *_: 1.5)
    few = ("--batch", "2", "--rounds", "1", "--evaluations", "2", "--ways", "eager")
    speed.main((*few, "--out", str(tmp_path), *settings))
    out = capsys.readouterr().out
    assert "left out" not in out and out.count("of its norm") == 4
    found = json.loads((tmp_path / "results.json").read_text())
    assert [(row["who"], row["type"]) for row in found["rows"]] == [
        (who, dtype) for who in ("ddm_jax", "eager") for dtype in ("float32", "bfloat16")
    ]
    assert all(value > 0 for row in found["rows"] for value in [*row.values()][2:])
    assert (tmp_path / "speed.png").stat().st_size > 5000
    parameter = {"a": np.ones(4, np.float32)}
    assert speed.apart({"a": 1.1 * parameter["a"]}, parameter) == pytest.approx(0.1, rel=1e-5)


PROGRAM = """
%fused { %inner = f32[2]{0} add(%p, %q), metadata={op_name="jit(step)/gradients/inner"} }
%w = f32[2]{0} parameter(0), metadata={op_name="state.params[\'norm1\']"}
%silu = f32[2]{0} fusion(%w), metadata={op_name="jit(step)/gradients/jvp(Net)/block/jit(silu)/mul"}
%laid = f32[2]{0} copy(%silu)
%forth = f32[2]{0} custom-call(%laid), metadata={op_name="jit(step)/jvp(Net)/block/conv1/conv/dot"}
%norm = (f32[2], u8[0]{0:T(8)}) fusion(%forth), metadata={op_name="jit(f)/transpose(jvp)/norm1/mul"}
%turned = f32[2]{0} transpose(%silu)
%kernel = f32[2]{0} convolution(%turned, %norm), window={size=3x3 pad=1_1x1_1}
%back = f32[2]{0} transpose(%kernel)
%logits = f32[2]{0} dot(%silu, %norm), lhs_contracting_dims={2}
%softmax = f32[2]{0} fusion(%logits), metadata={op_name="jit(step)/jvp(Net)/attention1/exp"}
%valued = f32[2]{0} dot(%w, %softmax)
%drop = f32[2]{0} fusion(%softmax), metadata={op_name="jit(step)/jvp(Net)/block/Dropout_0/select_n"}
ROOT %adam = f32[2]{0} fusion(%back, %w), metadata={op_name="jit(step)/update/add"}
"""


def test_operations_belong_to_the_parts_that_asked_for_them():
    parts = experiment("speed", "parts")
    found = {op: parts.part_of(name) for op, name in parts.named(PROGRAM).items()}
    forward = {
        "silu": parts.ELSE,
        "forth": "convolutions",
        "laid": "convolutions",  # for the one that uses it
        "softmax": "attention",
        "valued": "attention",  # weights are of no part
        "drop": "random draws and dropout",
        "adam": "clipping, optimiser and average",
    }
    assert {op: found[op] for op in forward} == {op: (part, False) for op, part in forward.items()}
    assert found["norm"] == found["logits"] == ("norms", True)
    # A gradient of weights, and how it is laid out for the optimiser.
    assert found["kernel"] == found["back"] == found["turned"] == ("convolutions", True)


@pytest.mark.slow
def test_the_parts_of_a_step_are_all_of_it(tmp_path, monkeypatch, capsys):
    parts, seen = experiment("speed", "parts"), []

    def spy(*given):
        seen.extend(operations(*given))
        return seen

    monkeypatch.setattr(parts, "operations", spy)
    sizes = ("channels=8", "groups=4", "multipliers=(1,)", "attention=(32,)", "blocks=1")
    settings = [f"--config.model.ddpm_unet.{text}" for text in sizes]
    parts.main(("--batch", "2", "--steps", "2", "--out", str(tmp_path), *settings))
    found = json.loads((tmp_path / "parts.json").read_text())
    ms = {row["part"]: row["forward"] + row["backward"] for row in found["ms"]}
    assert sum(ms.values()) == pytest.approx(1e3 * sum(op.seconds for op in seen))
    assert min(ms.values()) > 0 and [*ms.values()] == sorted(ms.values(), reverse=True)
    table = capsys.readouterr().out
    assert all(f"| {part} |" in table for part in ms)
    assert (tmp_path / "parts.png").stat().st_size > 5000
