"""train.deterministic_shards: the weights do not depend on the number of devices, not by a bit."""

import hashlib
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import DRAWS, FAST, ROOT, TINY, answer, environment, one_device, two_devices

from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import data_options
from ddm_jax.data import sources
from ddm_jax.data.pipeline import feed
from ddm_jax.training.base import Constants
from ddm_jax.training.layout import Layout

QUICK = ("--config", f"{ROOT}/configs/quickstart.py")
# What rounds and what draws: dropout, flips, Adam with clipping, times drawn by the losses seen.
SETTINGS = (
    *TINY,
    "--config.train.deterministic_shards=8",
    "--config.model.residual_mlp.dropout=0.2",
    *DRAWS,
)


def trained(layout: Layout, *settings, steps=4):
    """(state, metrics of the last step) on a layout, and the setup."""
    config = override(load_config(QUICK[1]), [*SETTINGS, *settings])
    data = sources.load(data_options(config))
    setup = assemble(config, data.spec)
    state = layout.replicate(setup.init_state())
    step = setup.compiled_steps(layout)
    fixed = layout.replicate((Constants(None, {}), setup.train_key()))
    for k in range(steps):
        part = feed(data, k, setup.train.batch, 0, augment=setup.task.augment, by_index=False)
        state, (metrics,) = step(state, (layout.shard(part),), *fixed)
    return jax.device_get((state, metrics))


def digest(tree) -> str:
    return hashlib.sha256(
        b"".join(np.asarray(a).tobytes() for a in jax.tree.leaves(tree))
    ).hexdigest()


def test_two_devices_give_the_bits_of_one_and_the_numbers_of_a_whole_batch(quick_compilation):
    one, two = trained(one_device()), trained(two_devices())
    assert digest(one) == digest(two)
    whole = trained(one_device(), "--config.train.deterministic_shards=0")
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5)
    assert digest(one) != digest(whole)


def test_every_device_has_the_new_state(quick_compilation):
    """And its memory is the old one's."""
    layout = two_devices()
    config = override(load_config(QUICK[1]), SETTINGS)
    data = sources.load(data_options(config))
    setup = assemble(config, data.spec)
    before = layout.replicate(setup.init_state())
    part = layout.shard(feed(data, 0, 16, 0, augment=setup.task.augment, by_index=False))
    fixed = layout.replicate((Constants(None, {}), setup.train_key()))
    after, _ = setup.compiled_steps(layout)(before, (part,), *fixed)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before.params))
    for leaf in jax.tree.leaves(after):
        first, second = leaf.addressable_shards
        assert {first.device, second.device} == set(layout.devices)
        np.testing.assert_array_equal(first.data, second.data)


@pytest.mark.telling
@pytest.mark.slow
def test_one_two_four_and_eight_devices_give_the_same_bits():
    script = (
        "import test_shards as t, jax; from ddm_jax.training.layout import Layout\n"
        "assert len(jax.local_devices()) == 8\n"
        "for n in (1, 2, 4, 8): print(t.digest(t.trained(Layout(tuple(jax.local_devices()[:n])))))"
    )
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/training")))
    given = environment(8, PYTHONPATH=paths, PYTEST_XDIST_WORKER="eight", **FAST)
    found = subprocess.run(
        [sys.executable, "-c", script], env=given, cwd=ROOT, text=True, capture_output=True
    )
    assert found.returncode == 0, found.stderr
    digests = found.stdout.split()
    assert len(digests) == 4 and len(set(digests)) == 1


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        (("deterministic_shards=5", "batch=16"), "take a multiple of 5"),
        (("deterministic_shards=4", "accumulate=2"), "leave accumulate at 1"),
        (("deterministic_shards=-1",), "or 0"),
        (("deterministic_shards=3", "batch=15"), "take a multiple of 2"),
    ],
)
def test_shards_that_cannot_be_are_one_line(
    settings, remedy, tmp_path, at_root, capsys, monkeypatch
):
    folder = ("--workdir", str(tmp_path / "run"))
    two = "batch=15" in settings
    if two:
        monkeypatch.setattr("ddm_jax.verbs.entry.all_devices", two_devices)
    else:
        monkeypatch.setattr("ddm_jax.verbs.entry.all_devices", one_device)
    arguments = [f"--config.train.{s}" for s in settings]
    code, _, err = answer(capsys, *QUICK, *TINY, *arguments, "--dry_run", *folder)
    assert code == 2 and remedy in err and err.count("\n") == 1
