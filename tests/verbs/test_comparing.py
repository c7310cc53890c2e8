"""Sets of samples against sets of data: by whatever road they come, the number is the same."""

import json
import shutil

import numpy as np
import pytest
from conftest import ROOT, TINY, answer, as_trained
from PIL import Image

from ddm_jax.data import sources
from ddm_jax.data.dataset import DataOptions
from ddm_jax.evaluation.protocol import named
from ddm_jax.evaluation.sets.base import Moments
from ddm_jax.verbs import comparing, looking, reading

pytestmark = pytest.mark.usefixtures("quick_compilation")

FEW = ("--config.evaluate.samples=20", "--config.evaluate.reference_count=200")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    for module in (comparing, looking):
        monkeypatch.setattr(module, "part_size", lambda batch: 8)


@pytest.fixture
def run(tiny_run, tmp_path, monkeypatch):
    """A copy of a trained run, and a cache of its own."""
    monkeypatch.setenv("DDM_JAX_CACHE", str(tmp_path / "cache"))
    return as_trained(tiny_run, tmp_path / "run")


def evaluated(capsys, run, *settings, metrics="('frechet',)"):
    """The new lines of results.jsonl."""
    path = run / "evaluation/results.jsonl"
    before = len(path.read_text().splitlines()) if path.exists() else 0
    arguments = ("--workdir", run, f"--config.evaluate.metrics={metrics}", *FEW, *settings)
    code, out, err = answer(capsys, "--mode", "evaluate", *arguments)
    assert (code, err) == (0, ""), err
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return rows[before:], out


def samples_of(run):
    """The bytes that were drawn and kept."""
    folders = [path for path in (run / "evaluation").glob("samples_*")]
    parts = sorted(folders[0].glob("*.npz"))
    return np.concatenate([np.load(part)["x"] for part in parts])


def test_a_number_stands_with_its_protocol_and_its_floor(run, capsys):
    rows, out = evaluated(capsys, run, metrics="('frechet','precision_recall')")
    assert [row["metric"] for row in rows] == ["frechet", "precision_recall"]
    row = rows[0]
    assert row["name"] == "FD@20 (pixels)" and row["name"] in out
    assert 0 < row["floor"]["numbers"]["frechet"] < row["value"]
    protocol = row["protocol"]
    assert protocol["count"] == 20 and protocol["reference"]["examples"] == 200
    assert protocol["samples"]["weights"]["kind"] == "averaged"
    assert protocol["samples"]["network_calls"] == 3
    assert protocol["features"]["name"] == "pixels" and protocol["code"]["sha256"]


def test_the_distance_is_that_of_moments_computed_apart(run, capsys):
    """From the samples on the disk and the data themselves."""
    (row,), _ = evaluated(capsys, run)
    flat = samples_of(run).reshape(20, -1) / np.float64(255)
    data = sources.load(DataOptions("digits")).columns["x"]
    held = np.random.default_rng(0).permutation(len(data))[:200]
    real = data[held].reshape(200, -1) / np.float64(255)
    gap = ((flat.mean(0) - real.mean(0)) ** 2).sum()
    a, b = np.cov(flat.T), np.cov(real.T)
    values, vectors = np.linalg.eigh(b)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    common = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ a @ root), 0)).sum()
    exact = gap + np.trace(a) + np.trace(b) - 2 * common
    assert row["value"] == pytest.approx(exact, rel=1e-5)


def test_an_interrupted_evaluation_goes_on_where_it_was(run, capsys, monkeypatch):
    calls, make_draw = [], comparing.make_draw

    def counting(*arguments):
        draw = make_draw(*arguments)

        def drawn(weights, count, say, first):
            calls.append(first)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return draw(weights, count, say, first)

        return drawn

    monkeypatch.setattr(comparing, "make_draw", counting)
    arguments = ("--workdir", run, "--config.evaluate.metrics=('frechet',)", *FEW)
    code, _, _ = answer(capsys, "--mode", "evaluate", *arguments)
    assert code == 130 and calls == [0, 8]
    (row,), _ = evaluated(capsys, run)
    assert calls == [0, 8, 8, 16]  # the first part is kept
    shutil.rmtree(run / "evaluation")
    monkeypatch.setattr(comparing, "make_draw", make_draw)
    (whole,), _ = evaluated(capsys, run)
    assert whole == row


def test_a_broken_part_is_made_anew(run, capsys):
    (row,), _ = evaluated(capsys, run)
    part = next((run / "evaluation").glob("samples_*/00000008.npz"))
    part.write_bytes(part.read_bytes()[:-40])
    assert evaluated(capsys, run)[0] == [row]


@pytest.mark.parametrize("kind", ["npz", "folder"])
def test_samples_of_others_are_measured_by_the_same_code(kind, run, capsys, tmp_path):
    (row,), _ = evaluated(capsys, run)
    images, source = samples_of(run), tmp_path / f"samples.{kind}"
    if kind == "npz":
        np.savez(source, arr_0=images)
    else:
        source.mkdir()
        for k, image in enumerate(images):
            Image.fromarray(image[..., 0]).save(source / f"{k:03}.png")
    (other,), _ = evaluated(capsys, run, f"--config.evaluate.source={source}")
    assert other["value"] == pytest.approx(row["value"], rel=1e-6)
    assert other["protocol"]["samples"]["source"] == source.name


def test_samples_of_others_need_no_run(run, capsys, tmp_path, at_root):
    """The number is that which a run on the same data gives of them, weights or not."""
    np.savez(
        tmp_path / "a.npz", arr_0=np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), "u1")
    )
    source = f"--config.evaluate.source={tmp_path / 'a.npz'}"
    (row,), _ = evaluated(capsys, run, source)
    config = ("--config", "configs/quickstart.py", "--workdir", tmp_path / "none")
    metrics = "--config.evaluate.metrics=('frechet',)"
    for _ in range(2):  # the second adds a line to those of the first, and starts no run
        code, _, err = answer(capsys, "--mode", "evaluate", *config, *FEW, metrics, source)
        assert (code, err) == (0, "")
    lines = (tmp_path / "none/evaluation/results.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [row, row]
    assert row["protocol"]["step"] is None
    assert not (tmp_path / "none/config.json").exists()
    (found,) = reading.find(tmp_path / "none", [])
    assert reading.result(found).status == "measured"


@pytest.mark.parametrize(
    "settings, remedy",
    [
        ((), "no run in"),
        (("--config.evaluate.source=a.npz",), "of samples take frechet"),
        (("--config.evaluate.source=a.npz", "--config.evaluate.metrics=fid"), "choose one of"),
        (("--config.evaluate.source=a.npz", "--config.evaluate.metrics=kid"), "name a folder of"),
        (("--config.evaluate.source=",), "name samples of others by --config.evaluate.source"),
    ],
)
def test_what_needs_a_run_says_so(settings, remedy, capsys, tmp_path, at_root):
    config = ("--config", "configs/quickstart.py", "--workdir", tmp_path / "none@100")
    code, _, err = answer(capsys, "--mode", "evaluate", *config, *settings)
    assert code == 2 and remedy in err and err.count("\n") == 1, err
    assert not (tmp_path / "none@100").exists()


def test_moments_in_a_file_stand_for_the_data(run, capsys, tmp_path):
    (row,), _ = evaluated(capsys, run)
    data = sources.load(DataOptions("digits")).columns["x"]
    held = np.random.default_rng(0).permutation(len(data))[:200]
    flat = (data[held].reshape(200, -1) / 255).astype(np.float32)
    np.savez(tmp_path / "stats.npz", **Moments.of(flat).published())
    (other,), _ = evaluated(capsys, run, f"--config.evaluate.reference={tmp_path / 'stats.npz'}")
    assert other["value"] == pytest.approx(row["value"], rel=1e-5)


@pytest.mark.slow
def test_samples_are_told_what_the_data_are_told(run, tiny_classifier, capsys):
    """And the floor of agreement is how often the classifier is right about data."""
    classifier = ("classifier.run=" + str(tiny_classifier), "name=classifier")
    settings = [f"--config.features.{text}" for text in classifier]
    (row,), _ = evaluated(capsys, run, *settings, metrics="('agreement',)")
    assert row["protocol"]["features"]["sha256"]["sha256"]
    assert 0 <= row["value"] <= 1 and row["floor"]["count"] == 20
    (raw,), _ = evaluated(capsys, run, *settings, "--config.evaluate.weights=raw")
    assert raw["protocol"]["samples"]["weights"]["kind"] == "raw"


def test_raw_weights_are_others_than_averaged_ones(run, capsys):
    rows = [evaluated(capsys, run, f"--config.evaluate.weights={w}")[0][0] for w in ("raw",)]
    rows += evaluated(capsys, run)[0]
    digests = {row["protocol"]["samples"]["weights"]["sha256"] for row in rows}
    assert len(digests) == 2 and rows[0]["value"] != rows[1]["value"]


def test_nothing_is_drawn_to_be_compared_with_what_was_not_asked(
    run, tiny_classifier, capsys, tmp_path
):
    """Neither of samples of others, nor of a model that is told nothing."""
    plain = ("--config.condition.name=nothing", "--config.loss.class_dropout=0.0")
    plain += ("--config.guidance.name=none", "--config.train.steps=1", "--config.optim.warmup=0")
    mlp = ("--config", f"{ROOT}/configs/quickstart.py", *TINY, *plain)
    assert answer(capsys, *mlp, "--workdir", tmp_path / "plain")[0] == 0
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 8, 8, 1), np.uint8))
    reading = ("features.name=classifier", f"features.classifier.run={tiny_classifier}")
    reading = [f"--config.{text}" for text in (*reading, "evaluate.metrics=agreement")]
    source = f"--config.evaluate.source={tmp_path / 'a.npz'}"
    for folder, more in ((run, (source,)), (tmp_path / "plain", ())):
        arguments = ("--workdir", folder, *FEW, *reading, *more)
        code, _, err = answer(capsys, "--mode", "evaluate", *arguments)
        assert code == 2 and "which is nothing here" in err and err.count("\n") == 1, err
        assert not [*folder.glob("evaluation/samples_*")]


@pytest.mark.parametrize(
    "settings, remedy",
    [
        ("evaluate.metrics=('score',)", "features that tell classes"),
        ("evaluate.metrics=('fid',)", "choose one of"),
        ("evaluate.samples=1", "at least 2"),
        ("evaluate.reference_count=1", "at least 2"),
        ("evaluate.conditions=mine", "choose one of asked, data"),
        ("evaluate.weights=ema", "choose one of averaged, raw"),
        ("evaluate.source=nowhere", "name a folder of images"),
        ("evaluate.source=pyproject.toml", "no .npz"),
        ("evaluate.source=tests", "0 samples"),
        ("evaluate.reference=pyproject.toml", "mu and sigma"),
        ("features.name=inception", "nothing is downloaded"),
        ("features.name=classifier", "features.classifier.run"),
    ],
)
def test_misuse_is_one_line(settings, remedy, run, capsys, at_root):
    base = "--config.evaluate.metrics=('frechet',)"
    arguments = ("--workdir", run, base, *FEW, f"--config.{settings}")
    code, _, err = answer(capsys, "--mode", "evaluate", *arguments)
    assert code == 2 and remedy in err and err.count("\n") == 1, err
    assert not (run / "evaluation/results.jsonl").exists()


@pytest.mark.parametrize(
    "arrays, remedy",
    [
        ({"x": np.zeros((4, 8, 8, 1), np.uint8)}, "it holds x"),
        ({"images": np.zeros((4, 8, 8, 3), np.uint8)}, "the data are (8, 8, 1)"),
        ({"images": np.zeros((4, 8, 8, 1), np.float32)}, "how it becomes bytes"),
        ({"images": np.zeros((4, 8, 8, 1), np.int64)}, "neither bytes nor floats"),
        ({"images": np.zeros((1, 8, 8, 1), np.uint8)}, "1 samples"),
        ({"images": np.array([{}], object)}, "no .npz of plain arrays"),
    ],
)
def test_arrays_that_are_no_samples_are_refused(arrays, remedy, run, capsys, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    base = "--config.evaluate.metrics=('frechet',)"
    arguments = ("--workdir", run, base, *FEW, f"--config.evaluate.source={tmp_path / 'a.npz'}")
    code, _, err = answer(capsys, "--mode", "evaluate", *arguments)
    assert code == 2 and remedy in err and err.count("\n") == 1, err


@pytest.mark.parametrize(
    "short, title, count, name",
    [
        ("FD", "Inception", 50_000, "FID (Inception)"),
        ("FD", "Inception", 5_000, "FID@5k (Inception)"),
        ("FD", "EfficientNet-Lite0", 2_000, "FD@2k (EfficientNet-Lite0)"),
        ("KID", "pixels", 1_797, "KID@1,797 (pixels)"),
        ("KID", "Inception", 10_000, "KID (Inception)"),
    ],
)
def test_names_tell_features_and_small_counts(short, title, count, name):
    assert named(short, title, count) == name
