"""Checkpoints of an earlier day, kept here, are read to the bit from then on.

Those in `golden/` are runs of two steps of four digits, with networks of 4 channels. Of
configs/quickstart.py with a residual_mlp of depth 1: `diffusion` with times by importance, `power`
with adamw and power-function averages. By sgd on one level: `classifier` of
configs/digits_classifier.py and `autoencoder` of configs/digits_latent.py:autoencoder. They are
never made anew: where this fails, what reads them is at fault.
"""

import hashlib
import tarfile

import jax
import numpy as np
import pytest
from conftest import ROOT, answer, compiled_fast

from ddm_jax.training.checkpoint import Checkpoints
from ddm_jax.training.step import TrainState
from ddm_jax.verbs.opened import open_run

GOLDEN = ROOT / "tests/training/golden"
DIGESTS = {
    "autoencoder": "4c8999ece3fb2849dba5f5e5ff48d6b5dd3c966ab96dbe45cc60386552263712",
    "classifier": "f51d37f8796ed3fd5356447fbbf0167e4612fa5a4b6a3a0fb3f0e6d0f004b757",
    "diffusion": "59bf81843f1d2ee76678ea388b7c62c7e957c43cbd4266101d1e5b2a45d060be",
    "power": "51f6c2bd3c04ceacb0b56e9efe559653f55a5d2a6e68db54b0d6eaa9b0664020",
}


def digest(fields):
    """Of every field's leaves in the order of their names."""
    whole = hashlib.sha256()
    for name in sorted(fields):
        for path, leaf in jax.tree_util.tree_flatten_with_path(fields[name])[0]:
            array = np.asarray(leaf)
            key = f"{name}{jax.tree_util.keystr(path)}{array.dtype.str}{array.shape}"
            whole.update(key.encode() + array.tobytes())
    return whole.hexdigest()


@pytest.fixture(params=DIGESTS)
def golden(request, tmp_path):
    """(name, a run's folder of its own)."""
    run = tmp_path / "run"
    with tarfile.open(GOLDEN / f"{request.param}.tar.xz") as archive:
        archive.extractall(run, filter="data")
    return request.param, run


def test_they_are_read_to_the_bit(golden):
    name, run = golden
    like = jax.eval_shape(open_run(run).setup.init_state)
    checkpoints, lines = Checkpoints(run / "checkpoints", read_only=True), []
    step, fields = checkpoints.restore(like, TrainState._fields, lines.append)
    checkpoints.close()
    assert step == 2 and lines == [] and digest(fields) == DIGESTS[name]


@pytest.mark.slow
def test_their_runs_go_on(golden, at_root, capsys):
    name, run = golden
    with compiled_fast():
        code, out, err = answer(
            capsys, "--config", run / "config.json", "--workdir", run, "--config.train.steps=3"
        )
    narrow = "warning: the network's outputs have 4 degrees of freedom"
    assert code == 0 and err[: len(narrow)] == (narrow if name in ("diffusion", "power") else "")
    assert "resuming at step 2" in out and "finished step 3" in out
