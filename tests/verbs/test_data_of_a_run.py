"""The data belong to a run: others are refused before anything is written, and named."""

import json

import numpy as np
import pytest
from conftest import answer, as_trained
from PIL import Image

from ddm_jax.data import sources
from ddm_jax.data.columns import spec_of
from ddm_jax.data.dataset import DataOptions, Dataset, check_same_data
from ddm_jax.errors import UserError

pytestmark = pytest.mark.usefixtures("quick_compilation")


def more(images, labels, classes):
    return np.concatenate([images, images[:3]]), np.concatenate([labels, labels[:3]]), classes


def renamed(images, labels, classes):
    return images, labels, (*classes[:8], "acht", "neun")


def one_more_class(images, labels, classes):
    return images, labels, (*classes, "ten")


def one_bit(images, labels, classes):
    images[1700, 3, 4] ^= 1
    return images, labels, classes


def other_labels(images, labels, classes):
    return images, np.roll(labels, 1), classes


CHANGES = {
    more: "count is 1,800, was 1,797; the examples differ; the labels differ; bring",
    renamed: "on: class 8 is 'acht', was '8'; bring",
    one_more_class: "class 10 is 'ten', was None; bring",
    one_bit: "on: the examples differ; bring",
    other_labels: "on: the labels differ; bring",
}


@pytest.fixture
def run(tiny_run, tmp_path):
    return as_trained(tiny_run, tmp_path / "run")


def change(monkeypatch, how):
    """Let `digits` be other data."""
    original = sources.SOURCES["digits"]

    def changed(*arguments):
        data = original(*arguments)
        x, label = data.columns["x"].copy(), data.columns["label"]
        x, label, classes = how(x, label, data.spec.classes)
        columns = {"x": x, "label": label}
        return Dataset(spec_of("digits", columns, classes, mirrors=False), columns)

    monkeypatch.setitem(sources.SOURCES, "digits", changed)


def contents(run):
    return {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}


def verbs(run):
    train = ("--config", run / "config.json", "--workdir", run)
    use = ("--workdir", run, "--mode")
    return train, (*train, "--dry_run"), (*use, "evaluate"), (*use, "edit", *SDEDIT)


SDEDIT = ("--config.edit.name=sdedit",)


@pytest.mark.slow
@pytest.mark.parametrize("how", CHANGES, ids=lambda how: how.__name__)
def test_changed_data_are_refused_before_anything_is_written(how, run, monkeypatch, capsys):
    change(monkeypatch, how)
    before = contents(run)
    for arguments in verbs(run):
        code, _, err = answer(capsys, *arguments)
        assert code == 2 and CHANGES[how] in err and err.count("\n") == 1, err
        assert "in another --workdir" in err
    assert contents(run) == before


def test_runs_of_earlier_versions_get_their_digests(run, monkeypatch, capsys):
    new = (run / "data.json").read_text()
    plain = json.loads(new)
    assert [len(digest) for digest in plain.pop("sha256")] == [64, 64, 0, 0, 0, 0]
    (run / "data.json").write_text(json.dumps(plain))
    train = verbs(run)[0]
    with monkeypatch.context() as patch:
        change(patch, more)
        code, _, err = answer(capsys, *train)
        assert code == 2 and "on: count is 1,800, was 1,797; bring" in err
    with monkeypatch.context() as patch:
        change(patch, one_bit)
        code, _, err = answer(capsys, *train)
        assert code == 2 and "on: mean and deviation differ; bring" in err
    assert answer(capsys, *train)[0] == 0
    assert (run / "data.json").read_text() == new


def test_the_same_data_may_lie_elsewhere(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 6), np.uint8)
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        for k, picture in enumerate(pixels):
            Image.fromarray(picture).save(tmp_path / place / f"{k}.png")

    def spec(place, **options):
        return sources.load(DataOptions(name=f"folder:{tmp_path / place}", **options)).spec

    here = spec("here")
    check_same_data(spec("there", cache=str(tmp_path / "cache")), here)
    assert here.sha256 == spec_of("x", {"x": pixels[..., None]}).sha256
    Image.fromarray(pixels[0] ^ 1).save(tmp_path / "there" / "0.png")
    with pytest.raises(UserError, match="there is no longer what .*: the examples differ;"):
        check_same_data(spec("there"), here)
    Image.fromarray(pixels[0]).save(tmp_path / "there" / "5.png")
    with pytest.raises(UserError, match="count is 6, was 5; the examples differ;"):
        check_same_data(spec("there"), here)


def test_large_sets_are_digested_in_parts(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (9000, 2, 2, 1), np.uint8)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert spec_of("x", {"x": mapped}).sha256 == spec_of("x", {"x": images}).sha256
    for k in (0, 4095, 4096, 8999):
        other = images.copy()
        other[k, 1, 1] ^= 128
        assert spec_of("x", {"x": other}).sha256[0] != spec_of("x", {"x": images}).sha256[0]
