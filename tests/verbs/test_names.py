"""What a verb writes is named by everything that shaped it, and by nothing else."""

import json

import jax
import numpy as np
import pytest
from conftest import answer, as_trained

from ddm_jax.figures.artists.images import Images
from ddm_jax.runs import Run, Saved
from ddm_jax.tasks.edits.base import Done
from ddm_jax.verbs import editing, evaluating, names, sampling

pytestmark = pytest.mark.usefixtures("quick_compilation")

DRAWING = (
    ("sampler.ddim.eta=0.5",),
    ("sampler.name=ddpm",),
    ("sampler.name=ddpm", "sampler.ddpm.variance=large"),
    ("timesteps.name=quadratic",),
    *((f"sample.{s}",) for s in ("count=5", "seed=1", "steps=4")),
    ("guidance.classifier_free.scale=2",),
    *((f"sample.{s}",) for s in ("clip=dynamic", "classes=1,2")),
)
BOUND = (
    *("count=4", "seed=1", "steps=4", "variance=small", "decoder=published"),
    *("ode_steps=9", "trace=normal", "probes=2"),
)


def unread(run, raw=False):
    shapes = jax.eval_shape(lambda: run.task().init(jax.random.key(0)))
    return Saved(6, jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes), "")


@pytest.fixture
def run(tiny_run, tmp_path):
    """A run that has written nothing but its previews."""
    return as_trained(tiny_run, tmp_path / "run")


def blank(generator, layout):
    return lambda weights, count, say: np.zeros((count, *generator.spec.shape), np.float32)


def unmeasured(setup, layout, metrics):
    def measure(weights, data, index, say):
        rows = {
            "bound": {
                **{name: np.zeros(len(index)) for name in ("prior", "decoder", "total")},
                "kl": np.zeros((len(index), 2)),
                "x0_mse": np.zeros((len(index), 3)),
            },
            "ode": {"bits": np.zeros(len(index))},
        }
        return {name: rows[name] for name in metrics}

    return measure


def still(generator, layout, weights, index, *_, **__):
    frames = np.zeros((2, len(index), *generator.spec.shape), np.float32)
    return sampling.pictures.Film(np.array([1.0, 0.0]), frames, np.array([0, 1]), frames)


def unmoved(layout, generator, weights, row, inputs):
    blank = np.zeros((len(inputs.numbers), *generator.spec.shape), np.float32)
    return Done(blank, blank, blank[:, None])


def written(capsys, run, verb, pattern, *settings):
    """The files that a verb left with these settings on top of those of the run."""
    before = {path: path.stat().st_mtime_ns for path in run.glob(pattern)}
    overrides = [f"--config.{setting}" for setting in settings]
    code, _, err = answer(capsys, "--mode", verb, "--workdir", run, *overrides)
    assert code == 0, err
    return {p for p in run.glob(pattern) if before.get(p) != p.stat().st_mtime_ns}


def assert_each_has_its_own(write, shaping, idle):
    """Every one of `shaping` makes a file of its own, every one of `idle` that of no setting."""
    plain = write()
    assert len(plain) == 1
    seen = set(plain)
    for settings in shaping:
        (path,) = write(*settings)
        assert path not in seen, settings
        seen.add(path)
    for settings in idle:
        assert write(*settings) == plain, settings


def test_samples_of_different_settings_stand_side_by_side(run, monkeypatch, capsys):
    monkeypatch.setattr(sampling, "make_draw", blank)
    monkeypatch.setattr(Run, "saved", unread)
    monkeypatch.setattr(sampling.pictures, "write_grid", lambda *a: None)
    idle = [("sample.batch=3",), ("evaluate.count=3",), ("sample.evaluations=3",)]
    assert_each_has_its_own(
        lambda *s: written(capsys, run, "sample", "samples/*.npz", "sample.film=0", *s),
        DRAWING,
        idle,
    )


def test_films_of_samples_do_too(run, monkeypatch, capsys):
    monkeypatch.setattr(sampling, "make_draw", blank)
    monkeypatch.setattr(sampling, "draw_film", still)
    assert_each_has_its_own(
        lambda *s: written(capsys, run, "sample", "samples/*_film_*.gif", *s),
        [("sample.film=2",), ("sample.seed=1",)],
        [("sample.film=3",)],
    )


@pytest.mark.slow
def test_evaluations_do_too(run, monkeypatch, capsys):
    monkeypatch.setattr(evaluating, "make_measure", unmeasured)
    monkeypatch.setattr(Run, "saved", unread)
    shaping = [*((f"evaluate.{s}",) for s in BOUND), ("sample.clip=none",)]
    idle = [("evaluate.batch=3",), ("evaluate.split=",), ("evaluate.steps=1000",)]
    idle.append(("sample.seed=1",))
    assert_each_has_its_own(
        lambda *s: written(capsys, run, "evaluate", "evaluation/*.json", *s), shaping, idle
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, shaping",
    [
        ("interpolate", ("pair=1,2", "frames=3", "between=examples")),
        ("sdedit", ("first=2", "count=2", "strength=0.5")),
        ("invert", ("first=2", "count=2", "sampler=heun")),
        ("inpaint", ("count=2", "mask=left", "rounds=2", "jump=3", "method=null_space")),
    ],
)
def test_edits_do_too(name, shaping, run, monkeypatch, capsys):
    for drawn in ("animation", "strip"):
        monkeypatch.setattr(Images, drawn, lambda *a, **k: None)
    monkeypatch.setattr(editing, "carried_out", unmoved)
    monkeypatch.setattr(Run, "saved", unread)
    drawing = ("timesteps.name=quadratic", "guidance.classifier_free.scale=2", "sample.classes=1")
    idle = ("sample.count=3", f"edit.{'invert' if name == 'sdedit' else 'sdedit'}.count=3")
    assert_each_has_its_own(
        lambda *s: written(capsys, run, "edit", "edits/*.npz", f"edit.name={name}", *s),
        [*((f"edit.{name}.{s}",) for s in shaping), *((s,) for s in drawing)],
        [(s,) for s in idle],
    )


def test_the_settings_stand_beside_the_arrays(run, monkeypatch, capsys):
    monkeypatch.setattr(sampling, "make_draw", blank)
    (path,) = written(capsys, run, "sample", "samples/*.npz", "sampler.ddim.eta=0.5")
    with np.load(path) as arrays:
        settings = json.loads(str(arrays["settings"]))
    assert path.stem == f"step_6_ddim_3_seed_0_{names.digest(settings)}"
    assert settings["sampler"] == {"name": "ddim", "eta": 0.5} and settings["count"] == 6
    monkeypatch.setattr(evaluating, "make_measure", unmeasured)
    (path,) = written(capsys, run, "evaluate", "evaluation/*.json")
    settings = json.loads(path.read_text())["settings"]
    assert path.stem == f"step_6_train_seed_0_{names.digest(settings)}"
    assert (settings["clip"], settings["steps"]) == ("static", 1000)


@pytest.mark.slow
def test_a_preview_of_other_settings_is_drawn_anew(run, capsys):
    train = ("--config", run / "config.json", "--workdir", run, "--config.sample.film=0")
    grid = run / "samples/step_6.png"
    seen = [grid.read_bytes()]
    for seed, drawn in ((0, False), (1, True), (1, False), (0, True)):
        code, out, err = answer(capsys, *train, f"--config.sample.seed={seed}")
        assert (code, err) == (0, "") and (f"wrote {grid}" in out) == drawn
        seen.append(grid.read_bytes())
    assert seen[0] == seen[1] == seen[4] != seen[2] == seen[3]
    assert json.loads(grid.with_suffix(".json").read_text())["sample"]["seed"] == 0
