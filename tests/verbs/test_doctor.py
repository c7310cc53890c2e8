"""The doctor on whole runs: planted faults are named, and healthy runs are called healthy."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, answer, as_trained

import launch
from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import complete, data_options
from ddm_jax.data import sources
from ddm_jax.data.columns import spec_of
from ddm_jax.data.dataset import Dataset
from ddm_jax.diffusion.schedules import SCHEDULES
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.generator import Generator
from ddm_jax.training.averages import Ema
from ddm_jax.verbs.checkup import start

FEW = ("--config.doctor.examples=12", "--config.doctor.levels=3", "--config.doctor.samples=3")

# The quickstart in 30 s of CPU time, most of it compilation; it ends below the Gaussian denoiser.
SMALL = (
    "model.ddpm_unet.channels=24",
    "model.ddpm_unet.multipliers=(1,)",
    "model.ddpm_unet.attention=()",
    "optim.warmup=10",
    "optim.lr=4e-3",
    "train.batch=64",
    "train.steps=200",
    "train.log_every=10",
    "train.save_every=100",
    "train.sample_every=0",
    "average.ema.decay=0.9",
    "sample.count=4",
    "sample.batch=4",
    "sample.steps=8",
)


def trained(run, *settings):
    """A SMALL run in a folder, with other settings."""
    arguments = [f"--config.{setting}" for setting in (*SMALL, *settings)]
    config = ("--config", str(ROOT / "configs/quickstart.py"))
    assert launch.main([*config, *arguments, "--workdir", str(run)]) == 0
    return run


def examined(capsys, run, *settings):
    """(exit code, what is wrong, what is said) of a run."""
    capsys.readouterr()
    arguments = [f"--config.{setting}" for setting in ("doctor.examples=128", *settings)]
    code, out, _ = answer(capsys, "--mode", "doctor", "--workdir", run, *arguments)
    path = next(line for line in out.splitlines() if line.startswith("wrote ")).split()[1]
    result = json.loads(Path(path).read_text())
    ill = list(dict.fromkeys(f["name"] for f in result["findings"] if f["ill"]))
    assert (code == 0) == (not ill) == result["healthy"]
    assert ("is healthy" in out) == (not ill) and all(name in out for name in ill)
    return code, ill, out


def test_it_prints_and_writes_what_it_finds(tiny_run, tmp_path, capsys, quick_compilation):
    run, curve = tmp_path / "run", tmp_path / "curve.json"
    as_trained(tiny_run, run)
    reference = tmp_path / "mine.json"
    known = {"step": 9, "settings": {}, "times": [0.0, 1.0], "x0_mse": [0.01, 0.04]}
    reference.write_text(json.dumps(known))
    files = f"--config.doctor.write={curve}", f"--config.doctor.reference={reference}"
    settings = (*FEW, *files)
    code, out, err = answer(capsys, "--mode", "doctor", "--workdir", run, *settings)
    assert (code, err) == (1, "")
    assert "reference mine" in out and "the reference is of step 9" in out and "0.0200" in out
    assert f"{run} at step 6 is NOT healthy: " in out and "hardly learnt" in out
    for row in ("averaged weights", "gaussian denoiser", "best constant", "another's condition"):
        assert row in out
    (path,) = (run / "doctor").glob("*.json")
    assert path.stem.startswith("step_6_") and path.with_suffix(".png").stat().st_size > 5000
    result = json.loads(path.read_text())
    seen = result["checkup"]
    assert not result["healthy"] and "train longer" in out.lower()
    assert len(seen["averaged"]["mean"]) == 3 and seen["moved"]["raw"] > 0
    assert seen["x"]["spread"] == pytest.approx(0.293, abs=0.001)
    own = json.loads(curve.read_text())
    np.testing.assert_allclose(own["x0_mse"], seen["averaged"]["mean"], rtol=1e-5)
    assert own["settings"]["train.batch"] == 16 and own["step"] == 6

    broken = "--config.doctor.reference=none.json"
    code, _, err = answer(capsys, "--mode", "doctor", "--workdir", run, broken)
    assert code == 2 and "make one with doctor.write" in err and err.count("\n") == 1


@pytest.mark.parametrize("schedule", ["cosine", "edm", "ve"])
def test_sampling_starts_with_the_deviation_of_its_schedule(schedule, monkeypatch):
    """That of VE is 50 and more; a start that is fainter by ten is seen to be."""
    config = complete(load_config(str(ROOT / "configs/quickstart.py")))
    settings = ("model.name=mlp", "condition.name=nothing", "guidance.name=none")
    settings += (f"schedule.name={schedule}", "loss.class_dropout=0")
    config = override(config, [f"--config.{s}" for s in settings])
    task = assemble(config, sources.load(data_options(config)).spec).task
    weights = Weights(task.init(jax.random.key(0)), {})
    assert start(task, weights).noise == pytest.approx(1, abs=0.02)
    whole = Generator.start
    monkeypatch.setattr(Generator, "start", lambda self, *given: 0.1 * whole(self, *given))
    assert start(task, weights).noise == pytest.approx(0.1, abs=0.002)


def test_classifiers_are_told_that_it_is_not_for_them(tiny_classifier, capsys):
    code, _, err = answer(capsys, "--mode", "doctor", "--workdir", tiny_classifier)
    assert code == 2 and "--mode doctor is not for" in err and err.count("\n") == 1


def planted(monkeypatch, change):
    """The digits with other columns, in training and in examining."""
    original = sources.SOURCES["digits"]

    def changed(argument, options, report):
        data = original(argument, options, report)
        columns = {**data.columns, **change(data.columns)}
        return Dataset(spec_of("digits", columns, data.spec.classes, mirrors=False), columns)

    monkeypatch.setitem(sources.SOURCES, "digits", changed)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("healthy") / "run", "train.keep_every=100")


@pytest.mark.slow
def test_a_healthy_run_is_called_healthy_at_its_end_and_at_its_half(healthy, capsys):
    code, ill, out = examined(capsys, healthy)
    assert (code, ill) == (0, []) and "wrong:" not in out and "note:" not in out
    assert examined(capsys, f"{healthy}@100")[:2] == (0, [])


def other_schedule(self, weights):
    return SCHEDULES["linear"](scaled=False, num_timesteps=100)


def faint(self, weights, index):
    return 0.1 * jnp.ones((len(index), *self.model.shape))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings, attribute, replacement",
    [
        (("timesteps.name=explicit", "timesteps.explicit.listed=(0.5,0.3,0.1)"), "", None),
        (("timesteps.name=leading",), "", None),
        ((), "schedule", other_schedule),
        ((), "start", faint),
    ],
    ids=["late", "leading", "other", "no noise"],
)
def test_a_wrong_schedule_at_sampling_is_named(
    healthy, capsys, monkeypatch, settings, attribute, replacement
):
    if attribute:
        monkeypatch.setattr(Generator, attribute, replacement)
    steps = "sample.steps=3" if settings else "sample.steps=8"
    assert examined(capsys, healthy, steps, *settings)[1] == ["wrong schedule at sampling"]


@pytest.mark.slow
def test_shuffled_labels_are_named(tmp_path, capsys, monkeypatch):
    mix = np.random.default_rng(0).permutation(1797)
    planted(monkeypatch, lambda columns: {"label": columns["label"][mix]})
    assert examined(capsys, trained(tmp_path / "run"))[1] == ["labels shuffled"]


@pytest.mark.slow
def test_a_learning_rate_100_times_too_high_is_named(tmp_path, capsys):
    run = trained(tmp_path / "run", "optim.lr=0.4")
    assert examined(capsys, run)[1] == ["learning rate too high"]


@pytest.mark.slow
def test_an_average_that_is_never_updated_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Ema, "update", lambda self, memory, *_: memory)
    assert examined(capsys, trained(tmp_path / "run"))[1] == ["EMA never updated"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "scaled",
    [
        lambda x: (x / 255).astype(np.float32),
        lambda x: (127.5 + x / 2).astype(np.uint8),
    ],
    ids=["bytes", "half"],
)
def test_data_scaled_twice_are_named(tmp_path, capsys, monkeypatch, scaled):
    planted(monkeypatch, lambda columns: {"x": scaled(columns["x"])})
    assert examined(capsys, trained(tmp_path / "run", "train.steps=20"))[1] == ["data scaled twice"]


@pytest.mark.slow
def test_equal_images_are_named(tmp_path, capsys, monkeypatch):
    planted(monkeypatch, lambda columns: {"x": np.repeat(columns["x"][:1], 1797, 0)})
    assert examined(capsys, trained(tmp_path / "run", "train.steps=20"))[1] == ["images all equal"]


OTHERS = {
    "eps": ("prediction.name=eps", "schedule.name=linear", "train.steps=400"),
    "velocity": ("prediction.name=velocity", "schedule.name=flow", "condition.name=nothing"),
    "edm": ("prediction.name=edm", "schedule.name=edm", "time_sampler.name=log_normal"),
    "x0": ("prediction.name=x0", "codec.pixels.scaling=fitted", "distance.name=l1"),
    "upscale": ("condition.name=image", "condition.image.factor=2"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_healthy_runs_are_not_called_ill(tmp_path, capsys, name):
    run = trained(tmp_path / "run", *OTHERS[name], "guidance.name=none")
    assert examined(capsys, run)[1] == []
