"""Runs on captions: prompts from the command line to pictures, and what is wrong with them."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from conftest import ROOT, TINY_TEXT, answer, compiled_fast, images_of

import launch
from ddm_jax.data.dataset import DataOptions
from ddm_jax.data.sources import load
from ddm_jax.verbs import open as open_run

RED, BLUE = "a large red square on a black background", "a small blue circle on a white background"
BYTES = (
    "--config.condition.name=text",
    *(f"--config.condition.text.{s}" for s in ("channels=8", "depth=1", "length=72")),
)
pytestmark = pytest.mark.usefixtures("at_root", "quick_compilation")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text") / "run"
    arguments = ("--config", str(ROOT / "configs/shapes_text.py"), *TINY_TEXT, *BYTES)
    with compiled_fast():
        assert launch.main([*arguments, "--workdir", str(folder)]) == 0
    return folder


def drawn(capfd, run, *arguments):
    """Arrays of `--mode sample`."""
    return images_of(capfd, run, *arguments)[0]


@pytest.mark.slow
def test_prompts_are_dealt_in_turn_and_stored(run, capfd):
    got = drawn(capfd, run, "--prompt", RED, "--prompt", BLUE)
    assert got["asked"].tolist() == [RED, BLUE] * 3
    assert json.loads(str(got["settings"]))["sample"]["ask"] == [RED, BLUE]
    (run.parent / "prompts.txt").write_text(f"{RED}\n\n  {BLUE}\n")
    again = drawn(capfd, run, "--prompts", str(run.parent / "prompts.txt"))
    np.testing.assert_array_equal(again["images"], got["images"])
    asked = drawn(capfd, run, f"--config.sample.ask={(RED, BLUE)!r}")
    np.testing.assert_array_equal(asked["images"], got["images"])


def generated(run, *ask, **guidance):
    opened = open_run(run)
    generator = opened.setup.task.generator
    options = dataclasses.replace(generator.options, ask=ask)
    how = dataclasses.replace(generator.guidance, **guidance)
    told = dataclasses.replace(generator, options=options, guidance=how)
    return np.asarray(jax.jit(told.generate)(opened.load().weights, np.arange(4)))


def test_an_example_is_of_its_own_prompt(run):
    both, red = generated(run, RED, BLUE), generated(run, RED)
    np.testing.assert_allclose(both[::2], red[::2], atol=1e-5)
    assert abs(both[1] - red[1]).max() > 1e-4


@pytest.mark.slow
def test_what_is_avoided_shapes_the_image(run, capfd):
    plain = drawn(capfd, run, "--prompt", RED)
    led = drawn(capfd, run, "--prompt", RED, index=f"--config.sample.avoid={BLUE}")
    assert abs(led["images"].astype(int) - plain["images"]).max() > 0
    same = ("--config.guidance.classifier_free.scale=1",)
    plain = drawn(capfd, run, "--prompt", RED, *same)
    led = drawn(capfd, run, "--prompt", RED, f"--config.sample.avoid={BLUE}", *same)
    np.testing.assert_array_equal(led["images"], plain["images"])


@pytest.mark.parametrize(
    "arguments, remedy",
    [
        (("--prompt", ""), "ask holds an empty prompt"),
        (("--prompt", "x" * 72), "72 bytes, and condition.text.length=72 leaves room for 71"),
        (("--config.sample.avoid=" + "x" * 72,), "72 bytes, and condition.text.length=72"),
        (("--prompt", "a\udc80"), "is no text that UTF-8 can write; type it anew"),
        (("--prompts", "/nowhere.txt"), "--prompts /nowhere.txt cannot be read as text"),
        (("--prompt", RED, "--config.sample.ask=('a',)"), "give one of them"),
        (("--config.sample.ask=(1,2)",), "sample.ask takes values like"),
        (("--config.sample.classes=3", "--prompt", RED), "give one of them"),
        (("--config.sample.classes=3", "--config.sample.ask=()"), "asks for classes, and nothing"),
        (("--config.guidance.classifier_free.scale=nan",), "no finite float32 number"),
        (("--config.guidance.classifier_free.parallel=2",), "parallel lies in [0, 1]"),
        (("--config.guidance.classifier_free.norm=-1",), "norm is the largest length"),
        (
            ("--config.guidance.name=none", "--config.sample.avoid=a"),
            "guidance.name=classifier_free",
        ),
        (("--config.condition.text.length=90",), "holds a run with other settings"),
    ],
)
def test_wrong_prompts_are_answered_in_one_line(run, capsys, arguments, remedy):
    code, _, err = answer(capsys, "--mode", "sample", "--workdir", run, *arguments)
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1
    assert remedy in err


@pytest.mark.parametrize(
    "arguments, remedy",
    [
        (("quickstart", "--prompt", "a red dot"), "unknown class 'a red dot'"),
        (
            ("quickstart", "--prompt", "3", "--config.condition.name=nothing",
             "--config.guidance.name=none"), "the model has no condition",
        ),
        (("quickstart", "--config.condition.name=text"), "text needs data with captions"),
        (
            ("shapes_text", "--config.condition.name=text", "--config.condition.text.length=40"),
            "and condition.text.length=40",
        ),
        (("shapes_text", "--config.condition.bpe.length=4"), "and condition.bpe.length=4"),
        (("shapes_text", "--config.condition.bpe.heads=5"), "heads=5 does not divide channels"),
        (("shapes_text", "--config.model.name=mlp"), "does not read that condition"),
        (("shapes_text", "--config.data.without=pink_circle"), "unknown class in data.without"),
        (("shapes_text", "--config.condition.name=transformer"), "no folder of a pretrained"),
    ],
)  # fmt: skip
def test_wrong_conditions_are_answered_in_one_line(capsys, tmp_path, arguments, remedy):
    name, *rest = arguments
    config = ("--config", f"configs/{name}.py", "--workdir", tmp_path / "run")
    code, _, err = answer(capsys, *config, *rest)
    assert code == 2 and remedy in err
    lines = [line for line in err.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1 and lines[0].startswith("error: ")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_frozen_vectors_of_words_are_trained_on_and_asked_for(tmp_path, capfd):
    for module in ("wordllama", "tokenizers"):
        pytest.importorskip(module, reason="frozen vectors of words need the extra text")
    small = (*TINY_TEXT, *(f"--config.condition.wordllama.{s}" for s in ("channels=8", "depth=1")))
    config = ("--config", "configs/shapes_text.py", "--config.condition.name=wordllama")
    assert launch.main([*config, *small, "--workdir", str(tmp_path)]) == 0
    got = drawn(capfd, tmp_path, "--prompt", RED, "--prompt", "a crimson square")
    assert got["asked"][:2].tolist() == [RED, "a crimson square"]
    code, _, err = answer(capfd, "--mode", "sample", "--workdir", tmp_path, "--prompt", "red " * 33)
    assert code == 2 and "has 34 words or parts of words" in err and err.count("\n") == 1


@pytest.mark.slow
def test_classes_can_be_asked_for_by_name(tiny_run, capfd):
    got = drawn(capfd, tiny_run, "--prompt", "8", "--prompt", "3")
    by_index = drawn(capfd, tiny_run, "--config.sample.classes=8,3")
    assert got["labels"].tolist() == [8, 3] * 3
    np.testing.assert_array_equal(got["images"], by_index["images"])


def test_classes_that_are_left_out_are_never_seen_and_keep_their_numbers():
    whole = load(DataOptions(name="shapes", count=200, size=(12,)))
    without = ("red circle", "blue square")
    some = load(DataOptions(name="shapes", count=200, size=(12,), without=without))
    away = [whole.spec.classes.index(name) for name in without]
    keep = ~np.isin(whole.columns["label"], away)
    assert 0 < (~keep).sum() and some.spec.count == keep.sum()
    assert some.spec.classes == whole.spec.classes
    for name, column in some.columns.items():
        np.testing.assert_array_equal(column, whole.columns[name][keep])
    assert (
        some.spec.sha256 != whole.spec.sha256 and some.attributes.keys() == whole.attributes.keys()
    )
