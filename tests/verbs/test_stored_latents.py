"""Latents that are encoded once are those of every batch, and are read by the runs that follow."""

import json
import shutil

import jax
import numpy as np
import pytest
from conftest import TINY, answer, assert_same_state, keys, one_device

from ddm_jax.data import sources
from ddm_jax.data.augments import NO_AUGMENT
from ddm_jax.data.cache import cache_folder
from ddm_jax.data.pipeline import feed
from ddm_jax.training.base import Constants
from ddm_jax.verbs import latents
from ddm_jax.verbs.opened import open_run

pytestmark = pytest.mark.usefixtures("quick_compilation", "at_root")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DDM_JAX_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def coder(tiny_autoencoder, tmp_path_factory):
    return shutil.copytree(tiny_autoencoder, tmp_path_factory.mktemp("coder") / "run")


def train(capsys, coder, workdir, *settings):
    """What a diffusion model of the coder's latents says while it is trained."""
    config = ("--config", "configs/digits_latent.py", "--workdir", workdir)
    lender = f"--config.codec.latent.run={coder}"
    code, out, err = answer(
        capsys, *config, *TINY, lender, *keys("optim.warmup=1", "optim.decay=constant", *settings)
    )
    assert (code, err) == (0, ""), err
    return out


def losses(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.mark.slow
def test_a_run_learns_from_stored_latents_as_from_batches_encoded_anew(capsys, coder, tmp_path):
    """But for rounding; and the second run, and one that goes on, read what the first stored."""
    first, second, anew = (tmp_path / name for name in ("first", "second", "anew"))
    assert "encoded 1,797 of 1,797 examples to latents" in train(capsys, coder, first)
    assert "encoded" not in train(capsys, coder, second, "train.steps=3")
    assert "encoded" not in train(capsys, coder, second)
    assert_same_state(first, second)
    assert "encoded" not in train(capsys, coder, anew, "codec.latent.store=False")
    assert losses(anew) == pytest.approx(losses(first), rel=1e-4)
    assert losses(anew)[0] != losses(anew)[1]


def test_an_autoencoders_run_encodes_them_ahead(capsys, coder, tmp_path):
    code, out, err = answer(capsys, "--mode", "encode", "--workdir", coder)
    assert (code, err) == (0, "") and out.count("encoded") >= 7
    assert f"--config.codec.latent.run={coder}" in out.splitlines()[-1]
    assert "encoded" not in train(capsys, coder, tmp_path / "run", "train.steps=2")


def test_examples_that_are_augmented_are_encoded_batch_by_batch(capsys, coder, tmp_path):
    shown = ("augment.name=geometric", "train.steps=2")
    assert "encoded" not in train(capsys, coder, tmp_path / "run", *shown)


def test_what_is_stored_is_of_the_weights_and_of_the_data(capsys, coder):
    """Every example's own, whatever stands beside it in a batch; and spoilt files are made anew."""
    opened = open_run(coder)
    task, params = opened.setup.task, opened.load(one_device()).weights.params
    data, said = sources.load(opened.setup.data), []

    def encoded(sha256):
        return latents.encoded(task, params, data, sha256=sha256, say=said.append)

    x = np.array(encoded("a").columns["x"])
    mean, variance = jax.jit(task.moments)(params, data.columns["x"][1700:1710])
    np.testing.assert_allclose(x[1700:1710], np.concatenate([mean, variance**0.5], -1), atol=1e-4)
    assert x.shape == (1797, 4, 4, 4)
    count = len(said)
    np.testing.assert_array_equal(encoded("a").columns["x"], x)
    assert len(said) == count
    encoded("b")
    assert len(said) == 2 * count
    for path in latents_files():
        path.write_bytes(path.read_bytes()[:-8] + b"\0" * 8)
    np.testing.assert_array_equal(encoded("a").columns["x"], x)
    assert len(said) == 3 * count


def latents_files():
    found = list(cache_folder().glob("*/x.npy"))
    assert len(found) == 2
    return found


def test_draws_of_a_step_are_those_of_the_autoencoder(capsys, coder, tmp_path):
    """The same keys give the same latents, stored or not, in and after the step's preparation."""
    run = tmp_path / "run"
    train(capsys, coder, run, "train.steps=2")
    opened = open_run(run)
    weights = opened.load(one_device()).weights
    setup, data = opened.setup, sources.load(opened.setup.data)
    again, kept = latents.stored(setup, data, weights.borrowed, one_device())
    assert again.task.codec == setup.task.codec.stored and kept.spec == data.spec
    constants, key = Constants(None, weights.borrowed), jax.random.key(3)
    found = [
        each.task.prepare(
            feed(columns, 1, 8, 0, augment=NO_AUGMENT, by_index=False), constants, key
        ).x0
        for each, columns in ((setup, data), (again, kept))
    ]
    np.testing.assert_allclose(*found, atol=1e-3)
    assert abs(np.diff(found[0], axis=0)).max() > 0.1
