"""A config that names what a GPU has computes on what a machine has instead, and says so."""

import json

import pytest
from conftest import ROOT, SHORT, answer, keys

from ddm_jax import borrowing, runs
from ddm_jax.config import suiting
from ddm_jax.config.load import leaves, load_config, override
from ddm_jax.config.tables import data_options
from ddm_jax.data import sources
from ddm_jax.training import logs

QUICK = ("--config", str(ROOT / "configs/quickstart.py"), *SHORT)
HALF = "model.ddpm_unet.dtype=bfloat16"
DIT = ("model.name=dit", "model.dit.dtype=bfloat16", "model.dit.kernel=cudnn")


@pytest.fixture(params=["flags\t: fpu avx2 sse", "", None], ids=["none", "empty", "no file"])
def without_units(request, monkeypatch, tmp_path):
    processor_of(request.param, monkeypatch, tmp_path)


def processor_of(text, monkeypatch, tmp_path):
    """The machine's processor is the one that this text describes."""
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(suiting, "PROCESSOR", tmp_path / "cpuinfo")
    suiting.has_units.cache_clear()
    monkeypatch.setattr(suiting, "has_units", suiting.has_units.__wrapped__)


def config_of(*settings):
    return override(load_config(str(ROOT / "configs/quickstart.py")), keys(*settings))


def differing(config, platform):
    own, lines = suiting.suited(config, platform)
    was = dict(leaves(config))
    changed = {key: value for key, value in leaves(own) if was[key] != value}
    assert len(lines) == len(changed)
    return changed, lines


def test_a_processor_without_units_computes_in_float32(without_units):
    changed, (line,) = differing(config_of(HALF), "cpu")
    assert changed == {"model.ddpm_unet.dtype": "float32"}
    assert line.startswith(HALF) and "no unit for it; float32" in line


@pytest.mark.parametrize("flags", ["amx_tile amx_bf16", "avx512_bf16", "asimd bf16"])
def test_one_that_has_some_computes_as_it_is_told(flags, monkeypatch, tmp_path):
    processor_of(f"processor\t: 0\nflags\t\t: fpu {flags} sse\n", monkeypatch, tmp_path)
    assert differing(config_of(HALF), "cpu") == ({}, ())
    assert differing(config_of(*DIT), "cpu")[0] == {"model.dit.kernel": "xla"}


def test_accelerators_compute_as_they_are_told_but_for_what_is_of_gpus(without_units):
    assert differing(config_of(*DIT), "gpu") == ({}, ())
    changed, (line,) = differing(config_of(*DIT), "tpu")
    assert changed == {"model.dit.kernel": "xla"} and "needs a GPU" in line
    both = {"model.dit.kernel": "xla", "model.dit.dtype": "float32"}
    assert differing(config_of(*DIT), "cpu")[0] == both


def test_what_is_not_used_or_not_asked_for_stays(without_units):
    assert differing(config_of("model.name=mlp", HALF, *DIT[1:]), "cpu") == ({}, ())
    assert differing(config_of(), "cpu") == ({}, ())


def test_the_devices_decide_and_not_the_machine_at_hand(without_units, tmp_path):
    """A dry run for TPUs compiles bfloat16 on any processor."""
    config = config_of(HALF)
    spec = sources.load(data_options(config)).spec
    for platform, dtype in (("", "float32"), ("cpu", "float32"), ("tpu", "bfloat16")):
        given = {"training": True, "platform": platform}
        setup, _ = borrowing.assembled(config, spec, tmp_path, **given)
        assert setup.task.model.net.dtype == dtype
        assert len(setup.warnings) == (dtype == "float32")


def test_runs_that_are_borrowed_are_asked_for_the_same_devices(monkeypatch, tmp_path):
    asked, config = [], config_of()

    class Lent:
        def task(self, platform=""):
            asked.append(platform)

    monkeypatch.setattr(borrowing, "borrow", lambda *_: {"teacher": Lent()})
    monkeypatch.setattr(borrowing, "assemble", lambda *_: None)
    spec = sources.load(data_options(config)).spec
    borrowing.assembled(config, spec, tmp_path, training=True, platform="tpu")
    assert asked == ["tpu"]


def test_a_run_says_so_keeps_its_config_and_has_the_bits_of_float32(
    monkeypatch, tmp_path, capsys, quick_compilation
):
    processor_of("flags\t: fpu avx2 sse", monkeypatch, tmp_path)
    small = (f"model.dit.{text}" for text in ("channels=16", "depth=1", "heads=2", "patch=2"))
    losses, least = [], keys("model.name=dit", *small, "train.steps=2")
    for name, settings in (("half", keys(*DIT)), ("full", [])):
        arguments = (*QUICK, *least, *settings, "--workdir", tmp_path / name)
        code, _, err = answer(capsys, *arguments)
        assert code == 0 and err.count("warning: model.dit.") == 2 * (name == "half"), err
        losses.append([row["loss"] for row in logs.read(tmp_path / name / "metrics.jsonl")])
    assert losses[0] == losses[1] and losses[0]
    config = json.loads((tmp_path / "half/config.json").read_text())
    assert config["model"]["dit"]["dtype"] == "bfloat16"
    code, _, err = answer(capsys, "--mode", "sample", "--workdir", tmp_path / "half")
    assert code == 0 and err.count("float32 is computed") == 1, err
    for platform, dtype in (("", "float32"), ("cpu", "float32"), ("gpu", "bfloat16")):
        assert runs.open(tmp_path / "half").task(platform).model.net.dtype == dtype
