"""A folder of the user's own images, with everything that can be wrong with one."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from ddm_jax.data import sources
from ddm_jax.data.dataset import DataOptions
from ddm_jax.errors import UserError


def load(path, report=lambda line: None, **options):
    return sources.load(DataOptions(name=f"folder:{path}", **options), report)


def paint(path, colour=(200, 100, 50), size=(8, 8), mode="RGB", **save):
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.new(mode, size, colour).save(path, **save)


def test_every_kind_of_pixel_becomes_the_same_eight_bit_rgb(tmp_path):
    paint(tmp_path / "a_rgb.png")
    paint(tmp_path / "b_rgba.png", (200, 100, 50, 255), mode="RGBA")
    Image.new("RGB", (8, 8), (200, 100, 50)).convert("P", palette=Image.Palette.ADAPTIVE).save(
        tmp_path / "c_palette.png"
    )
    paint(tmp_path / "d_clear.png", (200, 100, 50, 0), mode="RGBA")
    paint(tmp_path / "e_grey.png", 77, mode="L")
    Image.fromarray(np.full((8, 8), 77 * 257, np.uint16)).save(tmp_path / "f_16bit.png")
    paint(tmp_path / "g_bilevel.png", 1, mode="1")
    images = load(tmp_path).columns["x"]
    assert images.shape == (7, 8, 8, 3) and images.dtype == np.uint8
    for i in range(3):
        assert (images[i] == (200, 100, 50)).all()
    assert (images[3] == 255).all()  # transparent is white
    assert (images[4:6] == 77).all()
    assert (images[6] == 255).all()


def test_grey_folders_have_one_channel_unless_asked(tmp_path):
    paint(tmp_path / "a.png", 9, mode="L")
    paint(tmp_path / "b.png", 200, mode="L")
    assert load(tmp_path).columns["x"].shape == (2, 8, 8, 1)
    assert load(tmp_path, channels=3).columns["x"].shape == (2, 8, 8, 3)


def test_exif_rotation_is_applied(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, 4:] = 255  # right half white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: the left side becomes the top
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    got = load(tmp_path).columns["x"][0, ..., 0]
    assert got[:4].max() == 0 and got[4:].min() == 255


def test_images_are_cropped_to_the_middle_and_resized(tmp_path):
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    images = load(tmp_path, size=(10,)).columns["x"]
    assert images.shape == (1, 10, 10, 3) and images[0, :, 1:-1].min() > 240


def test_images_of_one_size_keep_it_whatever_their_ratio(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "b.png", exif=exif)
    lines = []
    data = load(tmp_path, lines.append)
    np.testing.assert_array_equal(data.columns["x"], [pixels, pixels])
    assert data.spec.shape == (8, 12, 3) and not any("cropped" in line for line in lines)


def test_mixed_sizes_need_one_and_are_cropped_to_its_ratio(tmp_path):
    """A white band down the middle of a wide one, across that of a tall one; one that fits."""
    wide, tall = np.zeros((20, 60), np.uint8), np.zeros((60, 20), np.uint8)
    wide[:, 15:45] = tall[23:37] = 255  # the middle of 20 x 26.7 and of 15 x 20 and of more
    right = np.random.default_rng(0).integers(0, 256, (6, 8), dtype=np.uint8)
    for name, pixels in (("a", wide), ("b", tall), ("c", right)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    with pytest.raises(UserError, match="differ in size; set --config.data.size=64, say, or 48,64"):
        load(tmp_path)
    lines = []
    got = load(tmp_path, lines.append, size=(6, 8)).columns["x"][..., 0]
    assert got.shape == (3, 6, 8) and min(got[0].min(), got[1, 1:-1].min()) > 240
    np.testing.assert_array_equal(got[2], right)
    assert lines[-1] == (
        f"2 of 3 images in {tmp_path} were of other sizes: cropped around their centre to 6:8 "
        "and resized to 6 x 8 pixels"
    )


def test_sub_folders_are_classes_in_alphabetical_order(tmp_path):
    for name in ("dog/2.png", "cat/1.png", "cat/deep/0.png"):
        paint(tmp_path / name)
    paint(tmp_path / "stray.png")
    data = load(tmp_path)
    assert data.spec.classes == ("cat", "dog") and data.columns["label"].tolist() == [0, 0, 1]
    assert data.problems == (("stray.png", "stands beside the class folders, in none of them"),)


def test_the_order_is_that_of_the_names_not_of_the_directory(tmp_path):
    for folder, names in (("x", "bca"), ("y", "acb")):
        for name in names:
            paint(tmp_path / folder / f"{name}.png", (ord(name), 0, 0))
    a, b = load(tmp_path / "x"), load(tmp_path / "y")
    np.testing.assert_array_equal(a.columns["x"], b.columns["x"])
    assert a.columns["x"][:, 0, 0, 0].tolist() == [97, 98, 99]


def test_captions_come_from_metadata(tmp_path):
    paint(tmp_path / "a.png")
    paint(tmp_path / "b.png")
    rows = [{"file_name": "a.png", "text": "a cat"}, {"file_name": "gone.png", "text": "x"}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\nnot json\n")
    data = load(tmp_path)
    assert data.columns["text"].tolist() == ["a cat"]
    assert data.spec.captioned and not data.spec.classes
    assert dict(data.problems).keys() == {"metadata.jsonl:3", "b.png", "metadata.jsonl"}


def test_bad_files_are_listed_and_skipped_or_stop_when_strict(tmp_path, monkeypatch):
    monkeypatch.setattr("ddm_jax.data.images.MAX_PIXELS", 100)
    paint(tmp_path / "good.png")
    paint(tmp_path / "bomb.png", size=(11, 11))
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no picture")
    whole = tmp_path / "whole"
    noise = np.random.default_rng(0).integers(0, 256, (10, 10, 3), dtype=np.uint8)
    Image.fromarray(noise).save(whole, format="png")
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:150])
    whole.unlink()
    data = load(tmp_path, size=(8,))
    assert len(data.columns["x"]) == 1 and data.columns["x"].shape == (1, 8, 8, 3)
    reasons = dict(data.problems)
    assert reasons.keys() == {"bomb.png", "empty.png", "text.jpg", "cut.png"}
    assert "11 x 11 pixels" in reasons["bomb.png"] and "empty" in reasons["empty.png"]
    with pytest.raises(UserError, match="bomb.png: 11 x 11"):
        load(tmp_path, size=(8,), strict=True)


@pytest.mark.parametrize(
    "exif, usable",
    [
        (b"Exif\0\0garbage", False),
        (b"Exif\0\0MM\0*", False),
        (b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", True),
        (b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\xff\0\0\0\0", True),
    ],
    ids=["garbage", "cut", "entries", "counts"],
)
def test_broken_exif_spoils_one_image_at_most(exif, usable, tmp_path):
    paint(tmp_path / "good.png", size=(12, 8))
    paint(tmp_path / "odd.png", size=(12, 8), exif=exif)
    data = load(tmp_path)
    assert data.spec.shape == (8, 12, 3) and data.spec.count == 1 + usable
    assert [name for name, _ in data.problems] == ([] if usable else ["odd.png"])


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    paint(tmp_path / "outside" / "secret.png")
    inside = tmp_path / "inside"
    paint(inside / "a.png")
    os.symlink(tmp_path / "outside" / "secret.png", inside / "b.png")
    os.symlink(tmp_path / "outside", inside / "way_out")
    os.symlink(inside / "a.png", inside / "c.png")
    data = load(inside)
    assert len(data.columns["x"]) == 2
    assert dict(data.problems)["b.png"] == "a link that leads outside the folder"


def test_captions_are_not_read_through_a_link_either(tmp_path):
    (tmp_path / "secret").write_text('{"file_name": "a.png", "text": "secret"}')
    paint(tmp_path / "inside" / "a.png")
    os.symlink(tmp_path / "secret", tmp_path / "inside" / "metadata.jsonl")
    with pytest.raises(UserError, match="leads outside"):
        load(tmp_path / "inside")


def test_a_changed_file_is_decoded_again(tmp_path):
    paint(tmp_path / "a.png", (1, 2, 3))
    assert load(tmp_path).columns["x"][0, 0, 0, 0] == 1
    paint(tmp_path / "a.png", (9, 2, 3))
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert load(tmp_path).columns["x"][0, 0, 0, 0] == 9


def test_folders_without_a_usable_image_are_refused(tmp_path):
    with pytest.raises(UserError, match="no images in"):
        load(tmp_path)
    (tmp_path / "a.png").write_text("x")
    with pytest.raises(UserError, match="none of the images"):
        load(tmp_path, size=(8,), channels=3)
