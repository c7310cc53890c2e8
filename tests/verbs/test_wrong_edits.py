"""What is wrong with edits, prompts and guidance: one line, exit code 2, and nothing is written.

What other files hold of it is not repeated here: wrong names and lists in test_edit, pictures in
test_edit_pictures, prompts of captions in test_prompts, files of vectors in test_embeddings_runs.
"""

import numpy as np
import pytest
from conftest import answer
from PIL import Image

from ddm_jax.tasks.edits.sdedit import SDEdit
from ddm_jax.verbs.opened import open_run
from ddm_jax.verbs.originals import gather

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    """Files and a folder that are wrong in some way."""
    path = tmp_path_factory.mktemp("wrong")
    Image.new("L", (8, 8), "white").save(path / "white.png")
    (path / "blank.txt").write_text("\n  \n")
    (path / "bytes.txt").write_bytes(b"\xff\xfe\0\x81")
    (path / "folder").mkdir()
    np.save(path / "numbers.npy", np.zeros(3))
    return path


SAMPLES = [
    (("--prompt", "a red circle"), "unknown class 'a red circle'; choose one of 0, 1"),
    (("--prompt", "3\n4"), "unknown class '3\\n4'"),
    (("--prompt", "{}/numbers.npy"), "numbers.npy'; choose one of 0, 1"),
    (("--prompt", "  "), "ask holds an empty prompt; leave it out, or say what to draw"),
    (("--prompt",), "expected one argument"),
    (("--prompts", "{}/blank.txt"), "holds no prompts; write one a line"),
    (("--prompts", "{}/bytes.txt"), "bytes.txt cannot be read as text"),
    (("--prompts", "{}/folder"), "folder cannot be read as text"),
    (("--prompts", "{}/none.txt"), "none.txt cannot be read as text"),
    (("sample.avoid=eleven",), "unknown class 'eleven'"),
    (("sample.avoid=3", "guidance.name=none"), "take guidance.name=classifier_free"),
    (("sample.classes=-1",), "sample.classes holds -1, but digits has classes 0 to 9"),
    (("sample.classes=1.5",), "classes takes whole numbers, as in 1,2,3, not 1.5"),
    (("sample.clip=hard",), "unknown sample.clip 'hard'; choose one of"),
    (("sample.steps=0",), "steps=0 must be at least 1"),
    (("sample.film=-1",), "film=-1 must be at least 1, or 0"),
    (("sample.seed=99999999999999999999",), "seed=99999999999999999999 must lie below 2^63"),
    (("guidance.classifier_free.scale=nan",), "scale=nan is no finite float32 number"),
    (("guidance.classifier_free.scale=inf",), "scale=inf is no finite float32 number"),
    (("guidance.classifier_free.scale=-1e39",), "is no finite float32 number"),
    (("guidance.classifier_free.scale=strong",), "takes values like 1.5 (float), not strong"),
    (("guidance.classifier_free.low=0.7", "guidance.classifier_free.high=0.3"), "not 0.7 to 0.3"),
    (("guidance.classifier_free.low=1.0",), "not 1.0 to 1.0"),
    (("guidance.classifier_free.high=2",), "guides at times low <= t <= high within [0, 1]"),
    (("guidance.classifier_free.rescale=2",), "rescale lies in [0, 1], not 2"),
    (("guidance.name=auto",), "name it with --config.guidance.auto.run=runs/<its name>"),
    (("guidance.name=classifier",), "--config.guidance.classifier.run=runs/<its name>"),
]
EDITS = [
    (
        ("inpaint", "mask={}/white.png"),
        "is white all over and covers the whole picture, so nothing",
    ),
    (("inpaint", "mask=0,0,8,8"), "mask=0,0,8,8 covers the whole picture"),
    (("inpaint", "mask={}/folder"), "folder' is no file; name a picture, white where"),
    (("inpaint", "factor=1"), "factor=1 must be at least 2 pixels a side"),
    (("sdedit", "strength=inf"), "strength takes values like (0.6,), not ('inf',)"),
    (("sdedit", "first=-1"), "count must be at least 1 and first at least 0"),
    (("interpolate", "pair=()"), "pair takes two indices of images, as in 0,1, not ()"),
    (("interpolate", "pair=1,99999999999"), "must lie below 2^31"),
]


def written(run):
    """What the verbs may have added to."""
    return {path for folder in ("samples", "edits") for path in (run / folder).glob("*")}


def check(run, capsys, mode, arguments, remedy):
    before = written(run)
    code, _, err = answer(capsys, "--mode", mode, "--workdir", run, *arguments)
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1
    assert remedy in err and written(run) == before


@pytest.mark.parametrize(
    "arguments, remedy", SAMPLES, ids=lambda a: " ".join(a) if isinstance(a, tuple) else ""
)
def test_wrong_prompts_and_guidance_are_one_line(arguments, remedy, wrong, tiny_run, capsys):
    given = [a.format(wrong) for a in arguments]
    given = [f"--config.{a}" if a.startswith(("sample.", "guidance.")) else a for a in given]
    check(tiny_run, capsys, "sample", given, remedy)


@pytest.mark.parametrize(
    "settings, remedy", EDITS, ids=lambda a: " ".join(a) if isinstance(a, tuple) else ""
)
def test_wrong_edits_are_one_line(settings, remedy, wrong, tiny_run, capsys):
    name, *own = settings
    given = [f"edit.name={name}", *(f"edit.{name}.{s.format(wrong)}" for s in own)]
    check(tiny_run, capsys, "edit", [f"--config.{s}" for s in given], remedy)


def test_examples_beyond_the_last_are_left_away_however_many_are_asked_for(tiny_run):
    """10^14 of them, which nothing could list."""
    wanted = SDEdit(first=1795, count=10**14).wanted()
    assert gather(open_run(tiny_run).setup, wanted, print).numbers.tolist() == [1795, 1796]
