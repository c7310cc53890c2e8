"""A folder of pairs, with everything that can be wrong with one."""

import dataclasses
import json
import os

import numpy as np
import pytest
from conftest import ROOT, answer
from PIL import Image

from ddm_jax.data import sources
from ddm_jax.data.dataset import DataOptions, Spec, check_same_data
from ddm_jax.errors import UserError


def load(path, **options):
    return sources.load(DataOptions(name=f"folder:{path}", **options))


def paint(path, value, size=(8, 12), mode="RGB"):
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.new(mode, size[::-1], value if mode == "L" else (value,) * 3).save(path)


@pytest.fixture
def pairs(tmp_path):
    """Three pairs: examples of 8 x 12 pixels in RGB, with grey pictures of half the size."""
    for k, name in enumerate(("a.png", "b.png", "deep/c.png")):
        paint(tmp_path / "pairs/target" / name, 10 * k)
        paint(tmp_path / "pairs/input" / name, 10 * k + 5, (4, 6), "L")
    return tmp_path / "pairs"


def test_files_of_equal_names_are_pairs(pairs):
    data = load(pairs)
    assert data.spec.shape == (8, 12, 3) and data.spec.picture == (4, 6, 1)
    assert data.columns.keys() == {"x", "image"} and data.spec.classes == () and not data.problems
    assert data.columns["x"][:, 0, 0, 0].tolist() == [0, 10, 20]
    assert data.columns["image"][:, 0, 0, 0].tolist() == [5, 15, 25]
    assert load(pairs).columns["image"].tolist() == data.columns["image"].tolist()  # of the cache
    rows = data.numbers(np.array([2]))
    assert (rows["x"] == 20).all() and (rows["image"] == 25).all()


def test_a_size_is_that_of_both(pairs):
    paint(pairs / "target/d.png", 1, (20, 20))
    paint(pairs / "input/d.png", 1, (7, 9))
    for side in ("target", "input"):
        with pytest.raises(UserError, match=f"images in .*{side} differ in size; set --config"):
            load(pairs)
        paint(pairs / "target/d.png", 1)
    data = load(pairs, size=(8, 4), channels=1)
    assert data.spec.shape == data.spec.picture == (8, 4, 1) and data.spec.count == 4


def test_captions_are_those_of_the_examples(pairs):
    rows = [{"file_name": f"target/{name}.png", "text": name} for name in ("b", "deep/c")]
    (pairs / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = load(pairs)
    assert data.columns["text"].tolist() == ["b", "deep/c"] and data.spec.captioned
    assert data.problems == (("target/a.png", "has no line in metadata.jsonl"),)
    assert data.columns["image"][:, 0, 0, 0].tolist() == [15, 25]


def test_what_is_no_pair_is_listed_and_left_out_or_stops_when_strict(pairs, tmp_path):
    paint(pairs / "stray.png", 1)
    paint(pairs / "target/alone.png", 1)
    paint(pairs / "input/lonely.png", 1, (4, 6))
    paint(pairs / "target/deep/a.png", 1)  # of the name of another, elsewhere
    for side, name in (("input", "broken"), ("target", "empty")):
        for place in ("input", "target"):
            paint(pairs / place / f"{name}.png", 1, (4, 6) if place == "input" else (8, 12))
        (pairs / side / f"{name}.png").write_text("no picture" if name == "broken" else "")
    paint(tmp_path / "secret.png", 1)
    paint(pairs / "target/link.png", 1)
    os.symlink(tmp_path / "secret.png", pairs / "input/link.png")
    data = load(pairs)
    assert data.columns["x"][:, 0, 0, 0].tolist() == [0, 10, 20] and len(data.columns["image"]) == 3
    reasons = dict(data.problems)
    assert reasons.keys() == {
        *("stray.png", "target/alone.png", "input/lonely.png", "target/deep/a.png"),
        *("input/broken.png", "target/empty.png", "input/link.png"),
    }
    assert reasons["stray.png"] == "stands beside the folders input and target, in none of them"
    assert reasons["target/alone.png"] == "has no partner input/alone.png"
    assert reasons["input/lonely.png"] == "has no partner target/lonely.png"
    assert reasons["target/empty.png"] == "an empty file"
    assert reasons["input/link.png"] == "a link that leads outside the folder"
    with pytest.raises(UserError, match="has no partner .*mend or remove it"):
        load(pairs, strict=True)


def test_folders_without_a_pair_are_refused(tmp_path):
    paint(tmp_path / "target/a.png", 1)
    paint(tmp_path / "input/b.png", 1)
    with pytest.raises(UserError, match=r"none of the images .* input/b.png: has no partner") as e:
        load(tmp_path)
    assert "\n" not in str(e.value)


def test_input_and_target_beside_others_are_classes(pairs):
    paint(pairs / "third/a.png", 1)
    data = load(pairs, size=(8,))
    assert data.spec.classes == ("input", "target", "third") and data.spec.picture == ()


def test_other_pictures_are_other_data(pairs, tmp_path):
    was = load(pairs).spec
    paint(pairs / "input/a.png", 99, (4, 6), "L")
    with pytest.raises(UserError, match="was trained on: the pictures differ; bring"):
        check_same_data(load(pairs).spec, was)
    with pytest.raises(UserError, match=r"picture is \(8, 8, 1\), was \(4, 6, 1\); bring"):
        check_same_data(
            load(pairs, size=(8,), channels=1).spec,
            dataclasses.replace(was, shape=(8, 8, 1), sha256=()),
        )


def test_files_of_earlier_versions_know_no_pictures_and_are_of_the_same_data():
    now = sources.load(DataOptions()).spec
    plain = json.loads(json.dumps(dataclasses.asdict(now)))
    assert plain.pop("picture") == [] and plain.pop("embedding") == 0
    plain["sha256"] = plain["sha256"][:3]
    was = Spec.read(plain)
    check_same_data(now, was)
    was = dataclasses.replace(was, sha256=(*was.sha256[:1], "0" * 64, ""))
    with pytest.raises(UserError, match="on: the labels differ; bring"):
        check_same_data(now, was)


WRONG = {
    ("data.size=12,8", "condition.image.factor=5"): "factor=5 does not divide the 12 x 8 pixels",
    ("condition.image.factor=1",): "factor=1 must be at least 2, or 0 for the pictures of the data",
    ("condition.image.factor=-2",): "factor=-2 must be at least 2",
    ("sample.ask=('none.png',)",): "'none.png' is no picture that can be read",
    ("sample.ask=('configs',)",): "'configs' is no picture that can be read",
    ("sample.ask=('~nobody_of_that_name/a.png',)",): "is no picture that can be read",
    ("sample.ask=('README.md',)",): "'README.md' is no picture that can be read",
    ("data.name=digits",): "digits has no pictures beside its examples; set condition.image.factor",
    ("guidance.name=classifier_free",): "train with loss.class_dropout=0.1",
}


@pytest.mark.parametrize("settings, reason", WRONG.items())
def test_wrong_commands_are_answered_in_one_line(settings, reason, pairs, at_root, capsys):
    where = (f"data.name=folder:{pairs}", "condition.name=image", "model.name=mlp", *settings)
    config = ("--config", "configs/base.py", "--dry_run")
    code, _, err = answer(capsys, *config, *(f"--config.{s}" for s in where))
    assert code == 2 and reason in err and err.count("\n") == 1, err


def test_pictures_that_do_not_divide_the_examples_are_refused(pairs, capsys):
    for name in ("a", "b", "deep/c"):
        paint(pairs / f"input/{name}.png", 1, (3, 6), "L")
    where = (f"data.name=folder:{pairs}", "condition.name=image", "model.name=mlp")
    config = ("--config", ROOT / "configs/base.py", "--dry_run")
    code, _, err = answer(capsys, *config, *(f"--config.{s}" for s in where))
    assert code == 2 and err.count("\n") == 1, err
    assert "pictures of 3 x 6 do not divide the 8 x 12 pixels" in err and "set data.size" in err
    code, out, err = answer(capsys, *config, *(f"--config.{s}" for s in (*where, "data.size=8")))
    assert code == 0 and "images 8x8x3, 0 classes, pictures 8x8x1" in out, err
