"""Checkpoints: exact, verified, and never worse than the one before."""

import contextlib
import shutil
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import small_files

from ddm_jax.errors import RunError, UserError
from ddm_jax.training import checkpoint
from ddm_jax.training.averages import Ema
from ddm_jax.training.checkpoint import Checkpoints
from ddm_jax.training.step import TrainState, init_state

FIELDS = TrainState._fields


def state_at(step, width=300):
    rng = np.random.default_rng(step)
    params = {"conv": {"kernel": jnp.asarray(rng.normal(size=(width, 40)), jnp.float32)}}
    state = init_state(params, optax.adam(1e-3), Ema())
    return state._replace(step=jnp.int32(step))


def write(directory, *steps, **options):
    checkpoints = Checkpoints(directory, **options)
    for step in steps:
        checkpoints.save(step, state_at(step))
    checkpoints.close()


def read(directory, like=None, fields=FIELDS, **options):
    lines = []
    checkpoints = Checkpoints(directory, **options)
    found = checkpoints.restore(like or state_at(0), fields, lines.append)
    checkpoints.close()
    return found, lines


def assert_same(fields, state):
    for name, tree in fields.items():
        assert jax.tree.structure(tree) == jax.tree.structure(getattr(state, name))
        for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(getattr(state, name)), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def damage(directory, step, field="params"):
    """Flip one bit of array data in the largest file of a field of a checkpoint."""
    files = [p for p in (directory / str(step) / field).rglob("*") if p.is_file()]
    largest = max(files, key=lambda p: p.stat().st_size)
    raw = bytearray(largest.read_bytes())
    raw[len(raw) // 2] ^= 4
    largest.write_bytes(raw)


def found_at_a_save(checkpoints):
    checkpoints.save(3, state_at(3))


def found_meanwhile(checkpoints):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        checkpoints.check()
        time.sleep(0.01)


@pytest.mark.parametrize("found", [found_at_a_save, found_meanwhile, Checkpoints.close])
def test_a_checkpoint_that_cannot_be_written_is_a_line_and_the_one_before_is_whole(found, tmp_path):
    write(tmp_path / "c", 0, 1)
    checkpoints = Checkpoints(tmp_path / "c")
    told = r"could not be written to .*/c: File too large; that of step 1 is whole\. Make room"
    with small_files(10_000):
        with pytest.raises(RunError, match=told):  # the first may find it, where it is slow
            checkpoints.save(2, state_at(2))
            found(checkpoints)
        with contextlib.suppress(RunError):
            checkpoints.close()
    (step, fields), lines = read(tmp_path / "c")
    assert step == 1 and lines == []
    assert_same(fields, state_at(1))
    write(tmp_path / "c", 2)
    assert read(tmp_path / "c")[0][0] == 2


def test_what_fails_for_another_reason_is_no_fault_of_the_disk(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path / "c")
    monkeypatch.setattr(checkpoints._manager, "save", lambda *_, **__: False)
    with pytest.raises(RuntimeError, match="did not save step 1"):
        checkpoints.save(1, state_at(1))
    checkpoints.close()


def test_where_the_first_checkpoint_cannot_be_written_there_is_none_before_it(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    with small_files(10_000), pytest.raises(RunError, match="large; there is none before it"):
        checkpoints.save(1, state_at(1))


def test_a_state_comes_back_bit_for_bit(tmp_path):
    write(tmp_path / "c", 3)
    (step, fields), lines = read(tmp_path / "c")
    assert step == 3 and lines == []
    assert_same(fields, state_at(3))


def test_one_that_says_it_is_far_too_large_is_not_read(tmp_path, monkeypatch):
    """A few bytes on the disk can stand for gigabytes; another shape of that size is an error."""
    monkeypatch.setattr(checkpoint, "SPARE", 0)
    write(tmp_path / "c", 3)
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(5, state_at(5, width=300 * 5))
    checkpoints.close()
    (step, fields), lines = read(tmp_path / "c")
    assert (
        step == 3
        and "5 is damaged (params would take 240,000 bytes of memory, not 48,000)" in (lines[0])
    )
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(6, state_at(6, width=300 * 3))
    checkpoints.close()
    with pytest.raises(UserError, match="does not fit this config"):
        read(tmp_path / "c")


class Former(NamedTuple):
    """A state as earlier versions had it."""

    step: Any
    params: Any
    ema_params: Any
    opt_state: Any
    times: Any


@pytest.mark.parametrize(
    "memory", [{"loss": jnp.arange(6.0).reshape(2, 3)}, ()], ids=["some", "no"]
)
def test_a_state_of_earlier_versions_is_read_with_what_it_remembers(memory, tmp_path):
    """Their `times` is the memory, verified too; the next checkpoint calls it so."""
    state = state_at(3)._replace(memory=memory)
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(3, Former(*state))
    checkpoints.close()
    assert (tmp_path / "c/3/times").is_dir() == bool(memory)
    (step, fields), lines = read(tmp_path / "c", state)
    assert step == 3 and lines == [] and fields.keys() == set(FIELDS)
    assert_same(fields, state)
    with pytest.raises(UserError, match="does not fit this config"):
        read(tmp_path / "c", state._replace(memory={"loss": jnp.zeros((2, 5))}))
    if memory:
        damage(tmp_path / "c", 3, "times")
        with pytest.raises(RunError):
            read(tmp_path / "c", state)


def test_the_newest_and_every_kth_stay(tmp_path):
    write(tmp_path / "c", *range(1, 9), keep=2, keep_every=3)
    assert Checkpoints(tmp_path / "c", read_only=True).steps() == [8, 7, 6, 3]


def test_saving_a_step_again_is_no_error(tmp_path):
    write(tmp_path / "c", 3, 3)
    write(tmp_path / "c", 3)


def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(tmp_path):
    write(tmp_path / "c", 1, 2, 3, keep=3)
    damage(tmp_path / "c", 3)
    (step, fields), lines = read(tmp_path / "c")
    assert step == 2 and "checkpoint 3 is damaged" in lines[0]
    assert_same(fields, state_at(2))
    assert (tmp_path / "damaged" / "3-0").is_dir()
    write(tmp_path / "c", 3)
    assert read(tmp_path / "c")[0][0] == 3


@pytest.mark.parametrize("sums", ["[]", "{}", "null", '{"params": []}', '{"step": {}}', "[" * 9999])
def test_sums_that_are_none_are_damage_too(sums, tmp_path):
    write(tmp_path / "c", 1, 2, keep=2)
    (tmp_path / "c" / "2" / "sha256" / "metadata").write_text(sums)
    (step, fields), lines = read(tmp_path / "c")
    assert step == 1 and "checkpoint 2 is damaged" in lines[0]
    assert_same(fields, state_at(1))


def test_where_none_is_usable_nothing_begins_anew_until_a_copy_is_back(tmp_path):
    write(tmp_path / "c", 1, 2)
    shutil.copytree(tmp_path / "c" / "2", tmp_path / "copy")
    for step in (1, 2):
        damage(tmp_path / "c", step)
    for _ in range(2):  # also when nothing is there to be put aside any more
        with pytest.raises(RunError, match="Put a good copy back as .*or start afresh"):
            read(tmp_path / "c")
    assert {p.name for p in (tmp_path / "damaged").iterdir()} == {"1-0", "2-0"}
    assert read(tmp_path / "c", read_only=True)[0] is None
    shutil.copytree(tmp_path / "copy", tmp_path / "c" / "2")
    assert read(tmp_path / "c")[0][0] == 2
    damage(tmp_path / "c", 2)
    with pytest.raises(RunError):
        read(tmp_path / "c")
    assert (tmp_path / "damaged" / "2-1").is_dir()
    shutil.rmtree(tmp_path / "c")
    shutil.rmtree(tmp_path / "damaged")
    with pytest.raises(RunError):  # removed by hand
        read(tmp_path / "c")


@pytest.mark.parametrize("trial", range(8))
def test_no_flipped_bit_is_ever_loaded(tmp_path, trial):
    write(tmp_path / "c", 1, 2)
    rng = np.random.default_rng(trial)
    files = [p for p in (tmp_path / "c" / "2").rglob("*") if p.is_file() and p.stat().st_size]
    weights = np.array([p.stat().st_size for p in files], float)
    file = files[rng.choice(len(files), p=weights / weights.sum())]
    raw = bytearray(file.read_bytes())
    raw[rng.integers(len(raw))] ^= 1 << rng.integers(8)
    file.write_bytes(raw)
    (step, fields), _ = read(tmp_path / "c")
    assert_same(fields, state_at(step))


def test_an_empty_folder_named_like_a_step_is_no_checkpoint(tmp_path):
    write(tmp_path / "c", 1)
    (tmp_path / "c" / "9").mkdir()
    (step, fields), _ = read(tmp_path / "c")
    assert step == 1
    assert_same(fields, state_at(1))


def test_none_is_none_and_readers_change_nothing(tmp_path):
    assert read(tmp_path / "none")[0] is None
    assert read(tmp_path / "never", read_only=True)[0] is None
    assert not (tmp_path / "never").exists()
    write(tmp_path / "c", 1, 2)
    damage(tmp_path / "c", 2)
    found, lines = read(tmp_path / "c", fields=("ema_params", "params"), read_only=True)
    assert found[0] == 1 and lines and (tmp_path / "c" / "2").is_dir()


def test_one_field_can_be_read_alone(tmp_path):
    write(tmp_path / "c", 5)
    (step, fields), _ = read(tmp_path / "c", fields=("ema_params",), read_only=True)
    assert step == 5 and fields.keys() == {"ema_params"}
    assert_same(fields, state_at(5))


def test_another_shape_is_the_configs_fault_and_keeps_the_files(tmp_path):
    write(tmp_path / "c", 1)
    with pytest.raises(UserError, match=r"saved float32\[300, 40\], expected float32\[200, 40\]"):
        read(tmp_path / "c", like=state_at(0, width=200))
    assert (tmp_path / "c" / "1").is_dir()
