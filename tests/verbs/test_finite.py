"""What is not finite is neither taken, nor saved, nor drawn: it is refused, or it stops the run."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import ROOT, TINY, answer, as_trained, one_device, state_of

from ddm_jax.config.schema import build, choice, section
from ddm_jax.config.tables import COMMON, COMMON_TABLES
from ddm_jax.data.columns import spec_of
from ddm_jax.errors import RunError, UserError
from ddm_jax.figures import plots
from ddm_jax.models.codecs import Pixels
from ddm_jax.runs import Run
from ddm_jax.tasks.classifier import Classifier
from ddm_jax.tasks.diffusion import Diffusion
from ddm_jax.tasks.generator import Generator
from ddm_jax.training import logs, optim
from ddm_jax.training.averages import Ema
from ddm_jax.training.checkpoint import Checkpoints
from ddm_jax.training.optim import Optim
from ddm_jax.training.step import init_state
from ddm_jax.verbs import sampling
from ddm_jax.verbs.opened import open_run

pytestmark = pytest.mark.usefixtures("quick_compilation")

MLP = (
    "--config",
    ROOT / "configs/quickstart.py",
    *TINY,
    "--config.model.name=mlp",
    "--config.condition.name=nothing",
    "--config.model.mlp.hidden=(64,)",
    "--config.guidance.name=none",
)
TABLES = {**COMMON_TABLES, **Diffusion.tables, "classifier": Classifier.tables["model"]}
ROWS = [(name, row) for name, table in TABLES.items() for row in table]


def floats(config):
    return [key for key, value in config.items() if isinstance(value, float)]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e39])
def test_no_setting_takes_what_is_no_finite_number(bad):
    refused = 0
    for name, cls in {**COMMON, **Diffusion.parts}.items():
        for key in floats(section(cls)):
            config = section(cls, **{key: bad})
            with pytest.raises(UserError, match=f"--config.{name}.{key}=.* finite"):
                build(cls, config, name)
            refused += 1
    for name, row in ROWS:
        for key in floats(section(TABLES[name][row])):
            config = choice(TABLES[name], row, **{key: bad})
            with pytest.raises(UserError, match=f"--config.{name}.{row}.{key}=.* finite"):
                build(TABLES[name], config, name)
            refused += 1
    assert refused > 20


def test_it_is_answered_in_one_line(capsys, tmp_path):
    code, _, err = answer(capsys, *MLP, "--config.optim.lr=inf", "--workdir", tmp_path / "run")
    assert (code, err.count("\n")) == (2, 1) and "--config.optim.lr=inf is no finite" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "settings",
    [{"eps": 0.0}, {"eps": -1e-8}, {"eps": 1e-50}, {"lr": 0.0}, {"b1": 1.0}, {"b1": -0.1}]
    + [{"b2": 1.0}, {"b2": -1.0}, {"weight_decay": -0.1}, {"clip": -1.0}, {"warmup": -1}],
    ids=str,
)
def test_optimisers_take_no_settings_without_sense(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Optim(**settings)


def test_a_state_that_is_not_finite_is_never_saved(monkeypatch, capsys, tmp_path):
    """The third update is infinite, the loss before it is not."""
    rate = lambda n: jnp.where(n == 2, jnp.inf, 0.1)  # noqa: E731
    monkeypatch.setitem(optim.OPTIMIZERS, "sgd", lambda o, lr: optax.sgd(rate))
    run = tmp_path / "run"
    each = ("--config.optim.name=sgd", "--config.train.save_every=1", "--config.train.steps=3")
    code, _, err = answer(capsys, *MLP, *each, "--workdir", run)
    assert code == 1 and err.startswith("stopped: step 3: ") and err.count("\n") == 1
    assert "newest checkpoint is step 2" in err and "Lower optim.lr" in err
    step, fields = state_of(run)
    assert step == 2 and all(np.isfinite(leaf).all() for leaf in fields["params"].values())
    assert not (run / "samples").exists()
    assert all(np.isfinite(row["loss"]) for row in logs.read(run / "metrics.jsonl"))


@pytest.mark.parametrize("field", ["params", "ema_params", "opt_state"])
@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_checkpoints_hold_only_finite_arrays(field, bad, tmp_path):
    good = init_state({"w": jnp.ones(5)}, optax.adam(1e-3), Ema())
    spoilt = getattr(jax.tree.map(lambda a: a.astype(jnp.float32) * bad, good), field)
    checkpoints = Checkpoints(tmp_path / "c")
    assert checkpoints.save(1, good) == 0
    assert checkpoints.save(2, good._replace(**{field: spoilt})) > 0
    assert checkpoints.steps() == [1]
    checkpoints.close()


def test_checkpoints_of_earlier_versions_that_are_not_finite_are_passed_over(monkeypatch, tmp_path):
    good = init_state({"w": jnp.ones(5)}, optax.sgd(1.0), Ema())
    checkpoints, lines = Checkpoints(tmp_path / "c"), []
    checkpoints.save(1, good)
    with monkeypatch.context() as patch:
        patch.setattr(np, "isfinite", np.ones_like)
        checkpoints.save(2, good._replace(ema_params={"w": jnp.full(5, jnp.nan)}))
    found = checkpoints.restore(good, ("ema_params",), lines.append)
    checkpoints.close()
    assert found[0] == 1 and "ema_params.['w'] is not finite" in lines[0]


@pytest.fixture
def run(tiny_run, tmp_path):
    """A run that has drawn nothing yet."""
    return as_trained(tiny_run, tmp_path / "run", "samples")


SAVED = Run.saved


def spoilt(run, raw=False):
    """The weights of a run, none of them a number."""
    saved = SAVED(run)
    return saved._replace(params=jax.tree.map(lambda a: a * jnp.nan, saved.params))


@pytest.mark.parametrize(
    "verb",
    [
        ("sample",),
        ("edit", "--config.edit.interpolate.frames=6"),
        ("edit", "--config.edit.name=sdedit", "--config.edit.sdedit.count=6"),
    ],
    ids=["sample", "interpolate", "sdedit"],
)
def test_images_that_are_not_finite_are_not_written(verb, run, monkeypatch, capsys):
    monkeypatch.setattr(Run, "saved", spoilt)
    code, _, err = answer(capsys, "--workdir", run, "--mode", *verb)
    assert code == 1 and err.startswith("stopped: ") and err.count("\n") == 1
    assert "6 of 6 images are not finite and not written: 0, 1, 2, 3, 4, ..." in err
    assert not (run / "samples").exists() and not (run / "edits").exists()


def test_the_images_are_named(run, monkeypatch, capsys):
    def generate(generator, weights, index):
        spoil = jnp.isin(index, jnp.array([2, 5]))[:, None, None, None]
        return generator.codec.decode(jnp.where(spoil, jnp.inf, jnp.zeros((1, 8, 8, 1))), {})

    monkeypatch.setattr(Generator, "generate", generate)
    code, _, err = answer(capsys, "--workdir", run, "--mode", "sample")
    assert code == 1 and "2 of 6 images are not finite and not written: 2, 5. Take" in err
    train = ("--config", run / "config.json", "--workdir", run)
    code, _, err = answer(capsys, *train)  # whose last preview is missing
    assert code == 1 and "2 of 6 images are not finite" in err
    assert not (run / "samples").exists()


def test_films_are_checked_too(run, monkeypatch):
    monkeypatch.setattr(Run, "saved", spoilt)
    opened = open_run(run)
    generator, weights = opened.setup.task.generator, opened.load(one_device()).weights
    with pytest.raises(RunError, match="3 of 3 images .*: 0, 1, 2"):
        sampling.draw_film(generator, one_device(), weights, np.arange(3), say=print)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_clipping_hides_what_is_not_finite(bad):
    codec = Pixels(spec_of("x", {"x": np.zeros((1, 4, 1), np.uint8)}))
    decoded = codec.decode(jnp.array([[bad], [2.0], [-2.0], [0.0]]), {})
    np.testing.assert_array_equal(decoded, [[np.nan], [1.0], [0.0], [0.5]])
    with pytest.raises(RunError, match="not finite"):
        plots.to_uint8(np.array([[0.5, bad]]))
