"""Pairs of noise and sample: what is written is what is drawn, and another run learns from it."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, TINY, answer, as_trained, assert_same_state, images_of, keys

import launch
from ddm_jax.data import sources
from ddm_jax.data.dataset import DataOptions
from ddm_jax.verbs import encoding
from ddm_jax.verbs.opened import open_run

pytestmark = pytest.mark.usefixtures("quick_compilation")

HOW = keys("sampler.name=ddim", "sample.count=20", "sample.steps=3", "sample.batch=4")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(encoding, "part_size", lambda batch: 8)


@pytest.fixture(scope="module")
def teacher(tiny_run, tmp_path_factory):
    return as_trained(tiny_run, tmp_path_factory.mktemp("pairs") / "teacher")


def encode(capsys, run, *settings):
    """The folder of pairs that `--mode encode` says it wrote, and all that it said."""
    code, out, err = answer(capsys, "--mode", "encode", "--workdir", run, *HOW, *settings)
    assert (code, err) == (0, ""), err
    return out.splitlines()[-1].rpartition("--config.data.name=pairs:")[2], out


def columns_of(folder):
    parts = [np.load(path) for path in sorted(folder.glob("*.npz"))]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.fixture(scope="module")
def encoded(teacher, quick_compilation):
    """The teacher's pairs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "part_size", lambda batch: 8)
        assert launch.main(["--mode", "encode", "--workdir", str(teacher), *HOW]) == 0
    (folder,) = (teacher / "pairs").iterdir()
    return folder


@pytest.fixture
def pairs(encoded, tmp_path):
    """A copy of a folder of pairs, for tests to change."""
    return shutil.copytree(encoded, tmp_path / "pairs")


def student(capsys, pairs, run, *settings):
    config = ("--config", ROOT / "configs/quickstart.py", *TINY, "--workdir", run)
    return answer(capsys, *config, *keys(f"data.name=pairs:{pairs}", *settings))


def test_pairs_are_the_samples_and_the_noise_that_they_start_from(teacher, pairs, capsys):
    drawn, _ = images_of(capsys, teacher, *HOW)
    found = columns_of(pairs)
    np.testing.assert_array_equal(found["x"], drawn["images"])
    np.testing.assert_array_equal(found["label"], drawn["labels"])
    opened = open_run(teacher, HOW)
    weights, index = opened.load().weights, jnp.arange(20)
    start = np.asarray(jax.jit(opened.setup.task.generator.start)(weights, index))
    scale = start / found["noise"]  # one number, and 1 for a variance-preserving schedule
    np.testing.assert_allclose(scale, 1, atol=2e-3)
    assert np.ptp(scale) < 1e-5


def test_what_was_interrupted_goes_on(teacher, encoded, tmp_path, capsys, monkeypatch):
    run = shutil.copytree(teacher, tmp_path / "run")
    shutil.rmtree(run / "pairs", ignore_errors=True)
    make_draw = encoding.make_draw

    def failing(*arguments):
        draw = make_draw(*arguments)

        def some(weights, n, say, first):
            if first:
                raise KeyboardInterrupt
            return draw(weights, n, say, first)

        return some

    with monkeypatch.context() as patch:
        patch.setattr(encoding, "make_draw", failing)
        code, _, _ = answer(capsys, "--mode", "encode", "--workdir", run, *HOW)
    (folder,) = (run / "pairs").iterdir()
    assert code == 130 and not (folder / "pairs.json").exists()
    code, _, err = student(capsys, folder, tmp_path / "none")
    assert code == 2 and "has no pairs; make some" in err  # that are whole
    _, said = encode(capsys, run)
    assert "1 of 3 parts are there already" in said
    for name, column in columns_of(folder).items():
        np.testing.assert_array_equal(column, columns_of(encoded)[name])


def test_parts_of_another_size_that_were_left_are_not_read(encoded, teacher, tmp_path, capsys):
    run = shutil.copytree(teacher, tmp_path / "run", ignore=shutil.ignore_patterns("pairs.json"))
    (folder,) = (run / "pairs").iterdir()
    (folder / "00000008.npz").rename(folder / "00000004.npz")
    encode(capsys, run)
    assert student(capsys, run, tmp_path / "other", "train.steps=2")[0] == 0
    for name, column in columns_of(encoded).items():
        told = sources.load(DataOptions(f"pairs:{run}")).columns[name]
        np.testing.assert_array_equal(told, column)


def test_a_run_learns_from_pairs_and_resumes(pairs, tmp_path, capsys):
    for steps in (3, 6):
        code, _, err = student(capsys, pairs, tmp_path / "parts", f"train.steps={steps}")
        assert (code, err) == (0, ""), err
    assert student(capsys, pairs, tmp_path / "whole")[0] == 0
    assert_same_state(tmp_path / "parts", tmp_path / "whole")
    moved = pairs.rename(tmp_path / "moved")  # the same pairs, elsewhere
    np.savez(moved / "00000000.npz", **(part := dict(np.load(moved / "00000000.npz"))))
    shutil.copytree(moved, pairs)
    assert student(capsys, pairs, tmp_path / "whole")[0] == 0
    np.savez(pairs / "00000000.npz", **{**part, "noise": -part["noise"]})
    code, _, err = student(capsys, pairs, tmp_path / "whole")
    assert code == 2 and "the noises differ" in err, err


def test_a_run_is_named_for_its_pairs_where_it_has_one_set(pairs, tmp_path, capsys):
    run = tmp_path / "of"
    shutil.copytree(pairs, run / "pairs/one")
    assert student(capsys, run, tmp_path / "run", "train.steps=2")[0] == 0
    shutil.copytree(pairs, run / "pairs/two")
    code, _, err = student(capsys, run, tmp_path / "other")
    assert code == 2 and "has several sets of pairs (one, two); name one" in err
    for nowhere in ("", "nowhere", tmp_path / "run"):
        code, _, err = student(capsys, nowhere, tmp_path / "other")
        assert code == 2 and "has no pairs; make some" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "settings, remedy",
    [
        (("sampler.name=ddpm",), "take --config.sampler.name=heun or ddim"),
        (("sampler.name=ddim", "sampler.ddim.eta=0.5"), "take --config.sampler.name=heun or ddim"),
        (("sample.count=0",), "count"),
        (("codec.name=latent",), "codec"),
    ],
)
def test_what_gives_no_pairs_is_refused(settings, remedy, teacher, capsys):
    before = sorted((teacher / "pairs").glob("*")) if (teacher / "pairs").exists() else []
    more = (a for a in HOW if "count" not in a and "sampler" not in a)
    command = ("--mode", "encode", "--workdir", teacher, *more, *keys(*settings))
    code, _, err = answer(capsys, *command)
    assert code == 2 and remedy in err and err.count("\n") == 1, err
    assert before == (sorted((teacher / "pairs").glob("*")) if before else [])


def test_a_classifier_has_no_pairs(tiny_classifier, capsys):
    code, _, err = answer(capsys, "--mode", "encode", "--workdir", tiny_classifier)
    assert code == 2 and "--mode encode is not for" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "settings, remedy",
    [
        (("augment.name=mirror",), "augment.name=none"),
        (("data.size=(16,)",), "leave data.size"),
        (("data.channels=3",), "leave data.channels"),
        (("codec.name=latent", "codec.latent.run=nowhere"), "nowhere"),
    ],
)
def test_examples_stay_with_their_noise(settings, remedy, pairs, tmp_path, capsys):
    code, _, err = student(capsys, pairs, tmp_path / "run", *settings)
    assert code == 2 and remedy in err and err.count("\n") == 1, err


def spoil_parts(folder, change):
    arrays = dict(np.load(folder / "00000008.npz"))
    np.savez(folder / "00000008.npz", **change(arrays))


def spoil_all(folder, change):
    for path in folder.glob("*.npz"):
        np.savez(path, **change(dict(np.load(path))))


def flip(path):
    """Spoil the compressed bytes of the first array."""
    raw = bytearray(path.read_bytes())
    raw[120:160] = b"\xff" * 40
    path.write_bytes(raw)


def about(folder, **changes):
    found = json.loads((folder / "pairs.json").read_text())
    (folder / "pairs.json").write_text(json.dumps({**found, **changes}))


SPOILT = {
    "a part is missing": lambda f: (f / "00000008.npz").unlink(),
    "a part is cut": lambda f: (f / "00000008.npz").write_bytes(b"PK\x03\x04"),
    "no noise": lambda f: spoil_parts(f, lambda a: {k: a[k] for k in ("x", "label")}),
    "half of the noise": lambda f: spoil_parts(f, lambda a: {**a, "noise": a["noise"][:2]}),
    "noise of another size": lambda f: spoil_parts(f, lambda a: {**a, "noise": a["noise"][:, :4]}),
    "noise that is no number": lambda f: spoil_parts(
        f, lambda a: {**a, "noise": a["noise"] * np.nan}
    ),
    "noise of float64": lambda f: spoil_parts(f, lambda a: {**a, "noise": a["noise"].astype("f8")}),
    "samples of float32": lambda f: spoil_parts(f, lambda a: {**a, "x": a["x"].astype("f4")}),
    "a label of no class": lambda f: spoil_parts(f, lambda a: {**a, "label": a["label"] + 90}),
    "objects": lambda f: spoil_parts(f, lambda a: {**a, "x": np.array([{}], object)}),
    "no object": lambda f: (f / "pairs.json").write_text("[]"),
    "noise of another size in all": lambda f: spoil_all(
        f, lambda a: {**a, "noise": a["noise"][:, 1:]}
    ),
    "labels that are no whole numbers": lambda f: spoil_all(
        f, lambda a: {**a, "label": a["x"] / 9}
    ),
    "bytes that are changed": lambda f: flip(f / "00000000.npz"),
    "brackets": lambda f: (f / "pairs.json").write_text("[" * 100_000),
    "levels without an end": lambda f: about(f, levels=float("inf")),
    "no JSON": lambda f: (f / "pairs.json").write_text("{"),
    "no classes": lambda f: about(f, classes=None),
    "no count": lambda f: about(f, count="three"),
    "none": lambda f: about(f, count=0),
    "too few": lambda f: about(f, count=19),
    "files of nothing": lambda f: about(f, size=0),
    "more than there are": lambda f: about(f, count=10**12),
    "no range": lambda f: about(f, low="a", high=None),
    "an empty range": lambda f: about(f, low=1.0, high=1.0),
    "a range that is none": lambda f: about(f, low=float("nan")),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_spoilt_pairs_are_one_line(fault, pairs, tmp_path, capsys):
    SPOILT[fault](pairs)
    code, _, err = student(capsys, pairs, tmp_path / "run")
    assert code == 2 and "is broken" in err and err.count("\n") == 1, err
    assert not (tmp_path / "run").exists()
