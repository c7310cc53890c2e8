"""A state that lies in parts is written in parts, and comes back whole or not at all."""

import json
import re
import shutil
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import one_device, small_files, two_devices
from safetensors.numpy import load_file, save_file

from ddm_jax.errors import RunError
from ddm_jax.options.training import TrainOptions
from ddm_jax.training import portions, processes, saving
from ddm_jax.training.averages import Ema
from ddm_jax.training.checkpoint import Checkpoints
from ddm_jax.training.layout import Layout
from ddm_jax.training.leaves import flat, joined, owned
from ddm_jax.training.saving import Saving
from ddm_jax.training.sharded import Sharded
from ddm_jax.training.step import TrainState, init_state


def fresh():
    """A state with arrays that two devices divide along either axis, or not at all."""
    draw = np.random.default_rng(0)
    shapes = {"tall": (2048, 3), "wide": (3, 2048), "small": (8,), "odd": (41, 41)}
    params = {name: jnp.asarray(draw.normal(size=s), jnp.float32) for name, s in shapes.items()}
    return init_state(params, optax.adam(1e-3), Ema())


def same(found, state):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(state), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def restored(directory):
    """(the newest state or None, what was said)."""
    said = []
    checkpoints = Checkpoints(directory, read_only=True)
    found = checkpoints.restore(fresh(), TrainState._fields, said.append)
    return found and TrainState(**found[1]), said


def test_parts_are_named_after_their_places_and_whole_arrays_as_they_were():
    state = Sharded(two_devices().devices).place(fresh())
    names = {*owned(state.params, first=True)}
    assert names == {
        *(".['tall'][0:1024,0:3]", ".['tall'][1024:2048,0:3]"),
        *(".['wide'][0:3,0:1024]", ".['wide'][0:3,1024:2048]"),
        *(".['small']", ".['odd']"),
    }
    for layout in (one_device(), two_devices()):
        whole = owned(layout.place(fresh()).params, first=True)
        assert whole.keys() == flat(fresh().params).keys()
    assert not owned(two_devices().place(fresh()).params, first=False)  # the first has it all


def test_a_state_in_parts_comes_back_to_the_bit_on_any_layout(tmp_path):
    layout = Sharded(two_devices().devices)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.save(3, layout.place(fresh())) == 0
    checkpoints.close()
    state, said = restored(tmp_path / "checkpoints")
    same(state, fresh())
    assert said == []
    same(layout.place(state), fresh())


@pytest.fixture
def shared(tmp_path):
    """Checkpoint 3 as two processes write it, of which each has a half of the tall array."""
    state = fresh()
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    whole = jax.device_get(state)
    mine, theirs = dict(whole.params), {}
    tall = mine.pop("tall")
    theirs[".['tall'][1024:2048,0:3]"] = tall[1024:]
    own = {name: owned(tree, first=True) for name, tree in whole._asdict().items()}
    del own["params"][".['tall']"]
    own["params"][".['tall'][0:1024,0:3]"] = tall[:1024]
    as_leaves = TrainState(**{name: Parts(leaves) for name, leaves in own.items()})
    assert checkpoints.save(3, as_leaves) == 0
    checkpoints.close()
    path = portions.portion(tmp_path / "checkpoints", 1, 3)
    portions.write(path, {"params": theirs})
    return path


@jax.tree_util.register_pytree_with_keys_class
class Parts:
    """Leaves whose names are given."""

    def __init__(self, leaves):
        self.leaves = leaves

    def tree_flatten_with_keys(self):
        return [(Named(name), leaf) for name, leaf in self.leaves.items()], tuple(self.leaves)

    def tree_flatten(self):
        return tuple(self.leaves.values()), tuple(self.leaves)

    @classmethod
    def tree_unflatten(cls, names, leaves):
        return cls(dict(zip(names, leaves, strict=True)))


class Named:
    """A key of a tree that is printed as a name without its dot."""

    def __init__(self, name):
        self.name = name.removeprefix(".")

    def __str__(self):
        return self.name


def test_what_two_processes_wrote_is_one_state(shared, tmp_path):
    state, said = restored(tmp_path / "checkpoints")
    same(state, fresh())
    assert said == []


def changed(path, how):
    """A portion rewritten with other tensors, or other sums."""
    tensors = load_file(path)
    (name,) = tensors
    sums = {name: "0" * 64}
    tensors, sums = how(name, tensors[name], sums)
    text = sums if isinstance(sums, str) else json.dumps(sums)
    save_file(tensors, path, {"sha256": text})


def flipped(path):
    raw = bytearray(path.read_bytes())
    raw[-100] ^= 4
    path.write_bytes(raw)


def moved(path):
    """The upper half twice, and no lower one."""
    (part,) = load_file(path).values()
    portions.write(path, {"params": {".['tall'][0:1024,0:3]": part}})


def rewritten(name, values):
    return lambda path: portions.write(path, {"params": {name: values}})


WIDE = np.ones((2048, 4), np.float32)
NAN = np.full((1024, 3), np.nan, np.float32)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), "a part of .*tall.* is not there"),
        (moved, "a part of .*tall.* is not there"),
        (flipped, "sha256 of params.*tall.*1024:2048.* differs"),
        (lambda path: path.write_bytes(path.read_bytes()[:-7]), "cannot be read"),
        (lambda path: path.write_text("a" * 4000), "cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (rewritten(".['tall'][1024:2048,0:4]", WIDE[:1024]), "no part of an array of the shape"),
        (rewritten(".['tall'][1024:2048]", WIDE[:1024, 0]), "no part of an array of the shape"),
        (rewritten(".['tall'][9024:9048,0:3]", WIDE[:24, :3]), "no part of an array of the shape"),
        (rewritten(".['tall'][1024:2048,0:3]", NAN), "is not finite"),
        (rewritten(".['more']", np.ones(2**20, np.float32)), "holds more of params than there is"),
        (lambda path: changed(path, lambda n, x, s: ({n: x}, s)), "sha256 of .* differs"),
        (lambda path: changed(path, lambda n, x, s: ({n: x}, "[1]")), "sha256 of .* differs"),
        (lambda path: changed(path, lambda n, x, s: ({n: x}, "{")), "cannot be read"),
    ],
)
def test_a_portion_that_is_not_whole_is_told_and_its_step_put_aside(spoil, said, shared, tmp_path):
    spoil(shared)
    lines = []
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    with pytest.raises(RunError, match="none is usable now"):
        checkpoints.restore(fresh(), TrainState._fields, lines.append)
    checkpoints.close()
    (line,) = lines
    assert np.char.count(line, "\n") == 0
    assert re.search(f"checkpoint 3 is damaged .*{said}", line), line
    kept = tmp_path / "damaged/3-0"
    assert kept.exists() and not shared.exists()
    assert (kept / "1.safetensors").exists() == ("is not there" not in said or spoil is moved)


def test_joined_arrays_need_all_their_parts_and_a_whole_one_wins():
    like = {".a": jnp.zeros((4, 2))}
    parts = {".a[0:2,0:2]": np.ones((2, 2)), ".a[2:4,0:2]": np.full((2, 2), 2.0)}
    np.testing.assert_array_equal(joined(parts, like)[".a"], [[1, 1], [1, 1], [2, 2], [2, 2]])
    whole = {".a": np.zeros((4, 2)), **parts}
    np.testing.assert_array_equal(joined(whole, like)[".a"], np.zeros((4, 2)))
    with pytest.raises(ValueError, match="no part of an array"):
        joined({".b[0:2]": np.ones(2)}, like)


def test_a_portion_that_cannot_be_written_is_a_line_and_leaves_the_old_one(shared):
    old = shared.read_bytes()
    with small_files(1000), pytest.raises(RunError, match="1/3.safetensors .*File too large; make"):
        portions.write(shared, {"params": {".x": np.ones(10_000, np.float32)}})
    assert shared.read_bytes() == old
    portions.write(shared, {"params": {".x": np.arange(6.0).reshape(2, 3).T}})  # in any order
    (found,) = portions.read(shared, {"params": 48}).values()
    np.testing.assert_array_equal(found[".x"], [[0, 3], [1, 4], [2, 5]])


def test_portions_without_a_checkpoint_are_forgotten(shared, tmp_path):
    other = portions.portion(tmp_path / "checkpoints", 3, 4)
    other.parent.mkdir()
    shutil.copy(shared, other)
    portions.forget(tmp_path / "checkpoints")
    assert shared.exists() and not other.exists()


class Two:
    """The first of two processes and the other, one after the other, in one process."""

    def __init__(self, monkeypatch, told):
        monkeypatch.setattr(processes, "allgather", lambda layout, tree: np.stack([tree] * 2))
        monkeypatch.setattr(saving, "allgather", lambda layout, tree: np.stack([tree, told]))
        monkeypatch.setattr(saving, "broadcast", lambda layout, tree: tree)


class Apart(Layout):
    @property
    def apart(self):
        return True


def test_the_first_waits_for_no_portion_that_it_cannot_see(monkeypatch, tmp_path):
    Two(monkeypatch, np.array([0, 1]))
    first = Saving(tmp_path, Apart(one_device().devices, 0, 2), TrainOptions())
    with pytest.raises(RunError, match="process 1 has written .*parts/1/3.* share"):
        first.save(3, fresh())
    assert first.steps() == []
    first.close()


def test_a_part_that_is_not_finite_leaves_the_step_out(monkeypatch, tmp_path):
    Two(monkeypatch, np.array([2, 0]))
    first = Saving(tmp_path, Apart(one_device().devices, 0, 2), TrainOptions())
    assert first.save(3, fresh()) == 2
    assert first.steps() == []
    first.close()


def test_the_others_write_only_what_is_theirs(monkeypatch, tmp_path):
    """And nothing where all of it is whole everywhere."""
    Two(monkeypatch, np.array([0, 0]))
    second = Saving(tmp_path, Apart(one_device().devices, 1, 2), TrainOptions())
    assert second.save(3, fresh()) == 0
    assert not [*tmp_path.rglob("*.safetensors")]
    monkeypatch.setattr(saving, "owned", lambda tree, first: {".x": np.ones(2)} if tree else {})
    assert second.save(3, SimpleNamespace(_asdict=lambda: {"params": 1, "memory": ()})) == 0
    assert [*tmp_path.rglob("*.safetensors")] == [tmp_path / "parts/1/3.safetensors"]
