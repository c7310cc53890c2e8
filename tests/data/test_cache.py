"""Decoded data are made once, and made anew where what lies there is not as it was written."""

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from ddm_jax import files
from ddm_jax.data import cache
from ddm_jax.data.cache import Decoded, cached
from ddm_jax.errors import UserError

KEY = {"name": "folder:some where", "size": ()}
X = np.arange(6 * 4 * 3 * 1, dtype=np.uint8).reshape(6, 4, 3, 1)
COLUMNS = {"label": np.arange(6, dtype=np.int32) % 2, "text": np.array([*"abcde", "much longer"])}
ABOUT = {"high": 200.0, "levels": 201, "mirrors": False}


class Maker:
    """Decodes X, and counts how often."""

    def __init__(self):
        self.made = 0

    def __call__(self, path):
        self.made += 1
        np.save(path, X)
        return Decoded(COLUMNS, ("even", "odd"), [("b.png", "broken")], ABOUT)


@pytest.fixture
def maker():
    return Maker()


def entry(root):
    (found,) = (path for path in root.iterdir() if not path.name.startswith("."))
    return found


def check(data):
    np.testing.assert_array_equal(data.columns["x"], X)
    for name, column in COLUMNS.items():
        np.testing.assert_array_equal(data.columns[name], column)
    spec = data.spec
    assert spec.classes == ("even", "odd") and spec.captioned and spec.name == KEY["name"]
    assert (spec.high, spec.levels, spec.mirrors, spec.kind) == (200.0, 201, False, "image")
    assert data.problems == (("b.png", "broken"),)


def test_data_are_decoded_once_for_each_key(maker, tmp_path):
    for _ in range(2):
        check(cached(str(tmp_path), KEY, maker))
    assert maker.made == 1
    cached(str(tmp_path), {**KEY, "size": (8, 9)}, maker)
    assert maker.made == 2 and len(list(tmp_path.iterdir())) == 2


def test_entries_of_another_format_are_not_opened(maker, tmp_path, monkeypatch):
    cached(str(tmp_path), KEY, maker)
    monkeypatch.setattr(cache, "_FORMAT", cache._FORMAT + 1)
    cached(str(tmp_path), KEY, maker)
    assert maker.made == 2 and len(list(tmp_path.iterdir())) == 2


def rewritten(change):
    """Writes a meta.json that differs in something."""

    def spoil(entry):
        meta = json.loads((entry / "meta.json").read_text())
        change(meta)
        (entry / "meta.json").write_text(json.dumps(meta))

    return spoil


def text(content):
    return lambda entry: (entry / "meta.json").write_text(content)


def resaved(name, array, pickled=False):
    return lambda entry: np.save(entry / name, array, allow_pickle=pickled)


def cut(name, size):
    return lambda entry: os.truncate(entry / name, size)


def as_folder(name):
    def spoil(entry):
        (entry / name).unlink()
        (entry / name).mkdir()

    return spoil


def as_file(entry):
    moved = entry.rename(entry.with_name(".old"))
    entry.write_bytes((moved / "x.npy").read_bytes())


def as_lost_link(entry):
    entry.rename(entry.with_name(".old"))
    entry.symlink_to(entry.with_name("nowhere"))


def one_bit(entry):
    raw = bytearray((entry / "x.npy").read_bytes())
    raw[-1] ^= 1
    (entry / "x.npy").write_bytes(raw)


HOSTILE = {
    "empty_object": text("{}"),
    "empty_file": text(""),
    "no_json": text("meta"),
    "a_list": text("[]"),
    "a_number": text("3"),
    "deep": text("[" * 100_000),
    "no_text": lambda entry: (entry / "meta.json").write_bytes(b"\xff\xfe\x00"),
    "no_problems": rewritten(lambda meta: meta.pop("problems")),
    "problems_of_numbers": rewritten(lambda meta: meta.update(problems=[1])),
    "spec_is_a_list": rewritten(lambda meta: meta.update(spec=[])),
    "spec_is_empty": rewritten(lambda meta: meta.update(spec={})),
    "count_is_text": rewritten(lambda meta: meta["spec"].update(count="many")),
    "other_shape": rewritten(lambda meta: meta["spec"].update(shape=[4, 3])),
    "mean_is_text": rewritten(lambda meta: meta["spec"].update(mean="dark")),
    "unknown_field": rewritten(lambda meta: meta["spec"].update(eval="1")),
    "unknown_kind": rewritten(lambda meta: meta["spec"].update(kind="smell")),
    "no_digests": rewritten(lambda meta: meta["spec"].update(sha256=[])),
    "digest_of_text_gone": rewritten(lambda meta: meta["spec"]["sha256"].__setitem__(2, "")),
    "meta_is_a_folder": as_folder("meta.json"),
    "x_is_a_folder": as_folder("x.npy"),
    "x_is_gone": lambda entry: (entry / "x.npy").unlink(),
    "x_is_empty": cut("x.npy", 0),
    "x_is_a_header": cut("x.npy", 128),
    "x_is_half_a_header": cut("x.npy", 60),
    "x_is_short": cut("x.npy", 150),
    "x_is_pickled": resaved("x.npy", np.array([{}, None]), pickled=True),
    "x_is_of_floats": resaved("x.npy", X.astype(np.float32)),
    "x_is_of_another_shape": resaved("x.npy", X[:5]),
    "x_is_no_array": lambda entry: (entry / "x.npy").write_bytes(b"\x93NUMPY\x01\x00\x02\x00{["),
    "x_has_one_bit_changed": one_bit,
    "labels_are_text": resaved("label.npy", np.array(list("aaaaaa"))),
    "labels_are_short": cut("label.npy", 130),
    "text_is_gone": lambda entry: (entry / "text.npy").unlink(),
    "text_is_other": resaved("text.npy", np.array(["?"] * 6)),
    "entry_is_a_file": as_file,
    "entry_is_a_lost_link": as_lost_link,
}


@pytest.mark.parametrize("spoil", HOSTILE.values(), ids=HOSTILE)
def test_an_entry_that_cannot_be_read_is_made_anew(spoil, maker, tmp_path):
    cached(str(tmp_path), KEY, maker)
    spoil(entry(tmp_path))
    check(cached(str(tmp_path), KEY, maker))
    assert maker.made == 2
    check(cached(str(tmp_path), KEY, maker))
    assert maker.made == 2  # and what was made is whole


def test_a_cache_that_cannot_be_written_is_answered_with_the_remedy(maker, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="give --config.data.cache=<folder>") as error:
        cached(str(tmp_path / "file"), KEY, maker)
    assert "\n" not in str(error.value)


def test_what_killed_processes_left_is_removed_and_what_is_being_made_is_not(maker, tmp_path):
    dead, alive = tmp_path / ".part-dead", tmp_path / ".part-alive"
    for part in (dead, alive):
        part.mkdir()
        (part / "x.npy").write_bytes(b"some")
    old = time.time() - 4000
    for path in (dead, dead / "x.npy", alive):  # in the other a file was written just now
        os.utime(path, (old, old))
    cached(str(tmp_path), KEY, maker)
    assert alive.exists() and not dead.exists()


def test_the_room_of_an_array_is_taken_before_it_is_filled(tmp_path):
    array = files.new_array(tmp_path / "x.npy", np.float32, (1 << 18, 2))
    assert (tmp_path / "x.npy").stat().st_blocks * 512 >= array.nbytes
    assert array.shape == (1 << 18, 2) and not array.any()


FULL = """
mount -t tmpfs -o size=200k tmpfs "$1" && cd "$2" && exec "$3" -c '
import sys
from ddm_jax.command_line import main
sys.exit(main(sys.argv[1:]))
' --config configs/quickstart.py --config.data.name=folder:"$4" --config.data.cache="$1" --dry_run
"""


@pytest.mark.skipif(
    subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0
    if shutil.which("unshare")
    else True,
    reason="needs a file system of its own, by unshare",
)
def test_a_full_disk_is_answered_in_one_line(tmp_path):
    small, pictures = tmp_path / "small", tmp_path / "pictures"
    for folder in (small, pictures):
        folder.mkdir()
    for k in range(4):
        Image.fromarray(np.full((256, 256, 3), k, np.uint8)).save(pictures / f"{k}.png")
    command = ["unshare", "-rm", "sh", "-c", FULL, "sh", small, ROOT, sys.executable, pictures]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "No space left" in done.stderr and "--config.data.cache" in done.stderr
