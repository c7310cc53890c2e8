"""A folder of the user's own clips, with everything that can be wrong with one."""

import os

import numpy as np
import pytest
from PIL import Image

from ddm_jax.data import moving_shapes, sources
from ddm_jax.data.dataset import DataOptions
from ddm_jax.errors import UserError

CLIPS = moving_shapes.draw(np.arange(4), 8, 16)


def load(path, report=lambda line: None, **options):
    return sources.load(DataOptions(name=f"clips:{path}", **options), report)


def frames_in(folder, clip, name="{}.png"):
    folder.mkdir(parents=True)
    for k, frame in enumerate(clip):
        Image.fromarray(frame).save(folder / name.format(k))


def gif(path, clip):
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = map(Image.fromarray, clip)
    first.save(path, save_all=True, append_images=others, duration=100)


def test_folders_of_frames_come_back_to_the_bit_in_the_order_of_their_numbers(
    tmp_path,
):
    clips = moving_shapes.draw(np.arange(3), 12, 16)
    for clip, name in zip(clips, ("a/one", "b/10", "b/9"), strict=True):
        frames_in(tmp_path / name, clip)  # 10.png and 11.png come after 9.png
    data = load(tmp_path)
    assert data.spec.kind == "clip" and data.spec.shape == (12, 16, 16, 3)
    assert data.spec.classes == ("a", "b") and not data.problems
    np.testing.assert_array_equal(data.columns["x"], clips[[0, 2, 1]])
    np.testing.assert_array_equal(data.columns["label"], [0, 1, 1])


def test_animations_are_clips_that_show_what_was_drawn(tmp_path):
    for k, clip in enumerate(CLIPS):
        gif(tmp_path / f"{k}.gif", clip)
    data = load(tmp_path)
    assert data.spec.shape == (8, 16, 16, 3) and data.spec.classes == ()
    away = abs(np.asarray(data.columns["x"], int) - CLIPS)
    assert away.mean() < 2  # a palette of 256 colours
    np.testing.assert_array_equal(
        moving_shapes.oracle(data.columns["x"]).label,
        moving_shapes.labels(moving_shapes.motion(np.arange(4))),
    )


def test_grey_clips_have_one_channel_and_transparent_ones_are_on_white(tmp_path):
    frames_in(tmp_path / "grey/a", CLIPS[0, ..., 0])
    assert load(tmp_path / "grey").spec.shape == (8, 16, 16, 1)
    clear = np.concatenate([CLIPS[0], np.zeros((8, 16, 16, 1), np.uint8)], -1)
    frames_in(tmp_path / "clear/a", clear)
    assert (load(tmp_path / "clear").columns["x"] == 255).all()


def test_sizes_and_lengths_are_brought_to_what_is_asked_and_that_is_said(tmp_path):
    frames_in(tmp_path / "a", CLIPS[0])
    frames_in(tmp_path / "b", moving_shapes.draw(np.arange(1), 10, 20)[0])
    frames_in(tmp_path / "short", CLIPS[2][:5])
    with pytest.raises(UserError, match="5 to 10 frames; set --config.data.frames=8"):
        load(tmp_path)
    with pytest.raises(UserError, match="differ in size; set --config.data.size=64"):
        load(tmp_path, frames=8)
    said = []
    data = load(tmp_path, said.append, frames=8, size=(16,), channels=1)
    assert data.spec.shape == (8, 16, 16, 1) and data.spec.count == 2
    assert data.problems == (("short", "has 5 frames, fewer than 8"),)
    assert any("1 of 2 clips were longer: cut to their first 8 frames" in line for line in said)
    assert any("1 of 2 clips were of other sizes" in line and "16 x 16" in line for line in said)
    first = load(tmp_path, frames=3, size=(16,))
    assert first.spec.shape == (3, 16, 16, 3) and first.spec.count == 3
    np.testing.assert_array_equal(first.columns["x"][2], CLIPS[2][:3])


def test_colours_and_sizes_are_looked_for_in_every_frame(tmp_path):
    """A clip that begins in grey keeps its colours, and a frame of another size is not hidden."""
    faded = CLIPS[0].copy()
    faded[0] = faded[0].mean(-1, keepdims=True)
    frames_in(tmp_path / "stills/a", faded)
    Image.fromarray(faded[0, ..., 0]).save(tmp_path / "stills/a/0.png")
    np.testing.assert_array_equal(load(tmp_path / "stills").columns["x"], [faded])
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    first = Image.fromarray(ramp)  # all greys, which a GIF says of its first frame alone
    others = [Image.fromarray(frame) for frame in faded[1:]]
    (tmp_path / "gif").mkdir()
    first.save(tmp_path / "gif/a.gif", save_all=True, append_images=others)
    with Image.open(tmp_path / "gif/a.gif") as image:
        assert image.mode == "L"
    assert load(tmp_path / "gif").spec.shape == (8, 16, 16, 3)
    gif(tmp_path / "grey/a.gif", np.stack([np.roll(ramp, k, 0) for k in range(8)]))
    assert load(tmp_path / "grey").spec.shape == (8, 16, 16, 1)
    Image.fromarray(CLIPS[0, 0, :9]).save(tmp_path / "stills/a/3.png")
    with pytest.raises(UserError, match="differ in size"):
        load(tmp_path / "stills")


def test_what_cannot_be_used_is_named_and_the_rest_is_read(tmp_path):
    root = tmp_path / "clips"
    frames_in(root / "good", CLIPS[0])
    frames_in(root / "bad", CLIPS[1])
    (root / "bad/3.png").write_bytes(b"no picture")
    gif(root / "cut.gif", CLIPS[2])
    whole = (root / "cut.gif").read_bytes()
    (root / "cut.gif").write_bytes(whole[: len(whole) // 2])
    (root / "empty.gif").write_bytes(b"")
    (root / "noise.gif").write_bytes(os.urandom(300))
    Image.fromarray(CLIPS[0, 0]).save(root / "stray.png")
    frames_in(tmp_path / "outside", CLIPS[3])
    (root / "link").mkdir()
    for k in range(8):
        (root / f"link/{k}.png").symlink_to(tmp_path / f"outside/{k}.png")
    data = load(root, frames=8)
    named = dict(data.problems)
    assert named.keys() == {"bad", "cut.gif", "empty.gif", "noise.gif", "stray.png", "link"}
    assert "leads outside" in named["link"] and "folder of their own" in named["stray.png"]
    np.testing.assert_array_equal(data.columns["x"], CLIPS[:1])
    with pytest.raises(UserError, match="mend or remove it, or set --config.data.strict=False"):
        load(root, frames=8, strict=True)


def test_folders_without_clips_are_one_line(tmp_path):
    with pytest.raises(UserError, match="correct the path in clips:<path>"):
        load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no clips in .*: neither GIFs nor folders of frames"):
        load(tmp_path)
    Image.fromarray(CLIPS[0, 0]).save(tmp_path / "stray.png")
    with pytest.raises(UserError, match="none of the clips .*: stands beside the clips"):
        load(tmp_path)
    gif(tmp_path / "still/a.gif", CLIPS[0][:1])
    with pytest.raises(UserError, match="have one frame each; read them by folder:"):
        load(tmp_path / "still")
    for side in ("input", "target"):
        gif(tmp_path / f"pairs/{side}/a.gif", CLIPS[0])
    with pytest.raises(UserError, match="clips have none; give the folders other names"):
        load(tmp_path / "pairs")


def test_a_changed_clip_is_read_anew(tmp_path):
    frames_in(tmp_path / "a", CLIPS[0])
    before = load(tmp_path)
    Image.fromarray(CLIPS[1, 7]).save(tmp_path / "a/7.png", compress_level=0)
    after = load(tmp_path)
    assert before.spec.sha256 != after.spec.sha256
    np.testing.assert_array_equal(after.columns["x"][0, 7], CLIPS[1, 7])
