"""configs/folder.py finds by looking what a user would have to say: size, classes or captions."""

import json

import numpy as np
import pytest
from conftest import ROOT, answer, keys
from PIL import Image

from ddm_jax.config.load import call_file, default_workdir, load_config
from ddm_jax.data.folder import survey

pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = f"{ROOT}/configs/folder.py"
TINY = keys(
    *("model.ddpm_unet.channels=8", "model.ddpm_unet.multipliers=(1,)", "train.steps=2"),
    *("model.ddpm_unet.attention=()", "model.ddpm_unet.groups=4", "train.batch=4"),
    *("sample.count=4", "sample.batch=4", "sample.steps=2", "train.sample_every=2"),
    *("optim.name=adam", "train.save_every=2", "model.ddpm_unet.heads=1", "train.log_every=1"),
)


def paint(folder, *names, size=(12, 8)):
    """Images of a size, (width, height), each of a colour of its own."""
    for k, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (20 * k, 100, 50)).save(folder / name)
    return folder


def config_of(folder):
    return load_config(f"{CONFIG}:{folder}")


def say(folder, rows):
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


SIZES = [  # sizes of the images, (width, height), and the height and width that they are brought to
    ([(12, 8)], (8, 12)),
    ([(30, 30)], (32, 32)),  # to the nearest multiple of 4
    ([(33, 29)], (28, 32)),
    ([(64, 48)], (32, 44)),
    ([(640, 480)], (32, 44)),
    ([(200, 100), (40, 16), (20, 30)], (20, 20)),  # the middle of 100, 16 and 20
    ([(200, 100), (400, 160), (20, 30)], (32, 32)),
    ([(3, 1)], (4, 4)),
]


@pytest.mark.parametrize(("sizes", "wanted"), SIZES)
def test_the_size_is_that_of_all_or_the_middle_and_at_most_32(sizes, wanted, tmp_path):
    for k, size in enumerate(sizes):
        paint(tmp_path, f"{k}.png", size=size)
    config = config_of(tmp_path)
    assert config.data.size == wanted
    assert config.model.ddpm_unet.attention == (wanted[0] // 4,)


def test_what_stands_beside_the_images_becomes_the_condition(tmp_path):
    alone = config_of(paint(tmp_path / "alone", "a.png", "b.png"))
    assert alone.condition.name == "nothing" and alone.guidance.name == "none"
    assert alone.loss.class_dropout == 0
    classes = config_of(paint(tmp_path / "classes", "red/a.png", "blue/b.png"))
    assert classes.condition.name == "classes" and classes.guidance.name == "classifier_free"
    assert classes.loss.class_dropout == 0.1
    pairs = config_of(paint(tmp_path / "pairs", "input/a.png", "target/a.png"))
    assert pairs.condition.name == "image" and pairs.condition.image.factor == 0

    captioned = paint(tmp_path / "captioned", "cat/a.png", "dog/b.png")
    texts = {"cat/a.png": "a cät", "dog/b.png": "a dog"}  # 6 bytes, and 5
    say(captioned, [{"file_name": name, "text": text} for name, text in texts.items()])
    told = config_of(captioned)
    assert told.condition.name == "text" and told.condition.text.length == 7

    texts["dog/b.png"] = "x" * 3_000_000
    say(captioned, [{"file_name": name, "text": text} for name, text in texts.items()])
    assert config_of(captioned).condition.text.length == 256

    embedded = paint(tmp_path / "embedded", "a.png", "b.png")
    say(embedded, [{"file_name": f"{n}.png", "embedding": [1.0, 2.0]} for n in "ab"])
    assert config_of(embedded).condition.name == "embeddings"


KINDS = ("alone", "classes", "pairs", "captioned", "embedded")


@pytest.mark.parametrize("kind", KINDS)
def test_it_runs_whatever_it_finds(kind, tmp_path, capsys):
    """Its network trains and draws where there are classes; the others have the same, assembled."""
    folder = tmp_path / "mine"
    names = ("a.png", "b.png", "c.png", "d.png")
    if kind == "classes":
        names = tuple(f"{'red' if k < 2 else 'blue'}/{name}" for k, name in enumerate(names))
    if kind == "pairs":
        names = tuple(f"{side}/{name}" for side in ("input", "target") for name in names)
    paint(folder, *names)
    if kind == "captioned":
        say(folder, [{"file_name": name, "text": f"picture {name}"} for name in names])
    if kind == "embedded":
        rows = [{"file_name": n, "embedding": [1.0, float(k)]} for k, n in enumerate(names)]
        say(folder, rows)
    where = ("--config", f"{CONFIG}:{folder}", "--workdir", str(tmp_path / "run"))
    code, out, err = answer(capsys, *where, "--dry_run")
    assert code == 0 and not err, err
    assert f"folder:{folder}, 4 images 8x12x3" in out
    if kind == "classes":
        code, out, err = answer(capsys, *where, *TINY)
        assert code == 0 and (tmp_path / "run/samples/step_2.png").exists(), err


def test_files_that_cannot_be_read_are_not_asked_for_their_size(tmp_path):
    paint(tmp_path, "a.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    (tmp_path / "empty.png").touch()
    other = paint(tmp_path / "../other", "x.png", size=(64, 64))
    (tmp_path / "away.png").symlink_to(other.resolve() / "x.png")
    (tmp_path / "round.png").symlink_to(tmp_path / "round.png")
    found = survey(str(tmp_path))
    assert found.spaces == [(8, 12)] and not found.pairs and found.longest == 0


def test_folders_that_cannot_be_are_one_line(tmp_path, capsys):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.png").write_text("no picture")
    (tmp_path / "none").mkdir()
    for argument, said in (
        ("", "name your folder, as in --config configs/folder.py:my_images"),
        (f":{tmp_path / 'nowhere'}", "no folder"),
        (f":{tmp_path / 'none'}", "no images in"),
        (f":{broken}", "can be read, as a.png; put others there"),
        (f":{broken / 'a.png'}", "no folder"),
        (":" + "x" * 300, "xxx"),
    ):
        code, _, err = answer(capsys, "--config", CONFIG + argument, "--dry_run")
        assert code == 2 and said in err and err.startswith("error: ") and err.count("\n") == 1


def test_the_run_of_a_folder_is_named_after_its_last_part(tmp_path, monkeypatch):
    assert str(default_workdir(f"{CONFIG}:{tmp_path}/my/birds")) == "runs/folder_birds"
    assert str(default_workdir(f"{CONFIG}:birds/")) == "runs/folder_birds"
    monkeypatch.chdir(paint(tmp_path / "cats/small", "a.png"))
    assert str(default_workdir(f"{CONFIG}:.")) == "runs/folder_small"
    assert str(default_workdir(f"{CONFIG}:..")) == "runs/folder_cats"
    assert str(default_workdir(f"{ROOT}/configs/toy.py:rings")) == "runs/toy_rings"


def test_no_size_loses_more_than_half_of_the_smallest_multiple():
    """What is not shrunk moves by less than half of the multiple that the network needs."""
    for side in range(4, 33):
        (height, width) = call_file(CONFIG, {"size_of": ([(side, side + 1)],)})
        assert height % 4 == width % 4 == 0
        assert abs(height - side) <= 2 and abs(width - side - 1) <= 2
    sizes = np.random.default_rng(0).integers(33, 2000, (50, 2)).tolist()
    for height, width in sizes:
        got = call_file(CONFIG, {"size_of": ([(height, width)],)})
        assert min(got) == 32
        assert abs(max(got) - 32 * max(height, width) / min(height, width)) <= 2
