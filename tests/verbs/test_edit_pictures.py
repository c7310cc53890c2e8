"""The edit mode on the user's own pictures: what it says of them, and its answers to misuse."""

import re

import numpy as np
import pytest
from PIL import Image
from test_edit import done, edit

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture
def mine(tmp_path):
    """A folder of two pictures, one of the size of the digits and one in colour."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.new("RGB", (40, 20), "red").save(tmp_path / "b.png")
    return tmp_path


@pytest.mark.slow
def test_a_picture_is_brought_to_the_size_of_the_data_and_that_is_said(mine, tiny_run, capsys):
    out, path, arrays = done(capsys, tiny_run, "inpaint", f"image={mine}", "rounds=1")
    assert f"{mine / 'a.png'}: 8 x 8 pixels, taken as it is\n" in out
    was = "20 x 40 pixels, cropped around its centre to 8:8, resized to 8 x 8 pixels, made grey"
    assert f"{mine / 'b.png'}: {was}\n" in out
    with Image.open(mine / "a.png") as picture:
        np.testing.assert_array_equal(arrays["original"][0, ..., 0], np.float32(picture) / 255)
    assert arrays["original"].shape == (2, 8, 8, 1) and arrays["original"][1].std() == 0


@pytest.mark.slow
def test_other_pictures_of_the_same_name_do_not_take_the_place_of_the_first(mine, tiny_run, capsys):
    settings = (f"image={mine / 'a.png'}", "strength=0.5")
    first = done(capsys, tiny_run, "sdedit", *settings)[1]
    Image.new("L", (8, 8), 9).save(mine / "a.png")
    assert done(capsys, tiny_run, "sdedit", *settings)[1] != first


@pytest.mark.slow
def test_a_walk_between_two_pictures(mine, tiny_run, capsys):
    files = f"image={mine / 'a.png'},{mine / 'b.png'}"
    _, _, arrays = done(capsys, tiny_run, "interpolate", files, "frames=3", "sample.classes=4")
    assert arrays["original"].shape == (2, 8, 8, 1) and arrays["images"].shape == (3, 8, 8, 1)
    code, _, err = edit(capsys, tiny_run, "interpolate", f"image={mine / 'a.png'}")
    assert code == 2 and "names 1 pictures; it walks between two" in err and err.count("\n") == 1


@pytest.mark.slow
def test_a_mask_may_have_the_size_of_the_picture_it_was_drawn_over(mine, tiny_run, capsys):
    white = np.zeros((20, 40), np.uint8)
    white[:, :20] = 255
    Image.fromarray(white).save(mine.parent / "mask.png")
    settings = (f"image={mine / 'b.png'}", f"mask={mine.parent / 'mask.png'}", "rounds=1")
    _, _, arrays = done(capsys, tiny_run, "inpaint", *settings)
    assert arrays["mask"][0, ..., 0].tolist() == [[1] * 4 + [0] * 4] * 8


def text_file(path):
    path.write_text("no picture")


def empty_file(path):
    path.write_bytes(b"")


def folder_without(path):
    path.mkdir()


def too_large(path):
    Image.new("1", (8001, 8001)).save(path)


def nothing(path):
    pass


@pytest.mark.parametrize(
    "make, remedy",
    [
        (text_file, "cannot be used: cannot identify image file"),
        (empty_file, "cannot be used: an empty file; take another picture"),
        (too_large, "cannot be used: 8001 x 8001 pixels; at most 64,000,000; take another"),
        (folder_without, "no images in"),
        (nothing, "no file"),
    ],
    ids=lambda a: a.__name__ if callable(a) else "",
)
def test_a_picture_that_cannot_be_used_is_one_line(make, remedy, tmp_path, tiny_run, capsys):
    make(tmp_path / "x.png")
    code, _, err = edit(capsys, tiny_run, "sdedit", f"image={tmp_path / 'x.png'}")
    assert code == 2 and remedy in err and re.fullmatch(r"error: .*\n", err)


def another_size(path):
    Image.new("L", (9, 8), "white").save(path)


def without_white(path):
    Image.new("L", (8, 8), "black").save(path)


@pytest.mark.parametrize(
    "make, remedy",
    [
        (text_file, "cannot be used: cannot identify image file"),
        (another_size, "has 8 x 9 pixels; it must have 8 x 8"),
        (without_white, "holds no white, so there is nothing to fill in"),
        (nothing, "is no file; name a picture, white where it is to be filled in, a box"),
    ],
    ids=lambda a: a.__name__ if callable(a) else "",
)
def test_a_mask_that_cannot_be_used_is_one_line(make, remedy, tmp_path, tiny_run, capsys):
    make(tmp_path / "m.png")
    code, _, err = edit(capsys, tiny_run, "inpaint", f"mask={tmp_path / 'm.png'}")
    assert code == 2 and remedy in err and re.fullmatch(r"error: .*\n", err)


@pytest.mark.parametrize("name", ["a" * 5000, "~nobody/a.png", "a\0b", ",x", "."])
def test_a_name_of_no_file_is_one_line(name, tiny_run, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # an empty folder
    for edited, setting in (("sdedit", "image"), ("inpaint", "mask")):
        code, _, err = edit(capsys, tiny_run, edited, f"{setting}={name}")
        assert code == 2 and re.fullmatch(r"error: .*\n", err, re.DOTALL), err
        assert "no file" in err or "no images in" in err


@pytest.mark.parametrize("box", ["6,0,3,2", "-1,0,2,2", "0,6,2,3", "0,0,0,2", "1,2,3", "1,2,3,4,5"])
def test_a_box_outside_the_picture_is_one_line(box, tiny_run, capsys):
    code, _, err = edit(capsys, tiny_run, "inpaint", f"mask={box}")
    assert code == 2 and box in err and re.fullmatch(r"error: .*\n", err)
    assert "top,left,height,width" in err or "(top, left, height, width)" in err


@pytest.mark.parametrize(
    "mask, missing",
    [
        ("centre", (slice(2, 6), slice(2, 6))),
        ("left", (slice(None), slice(4))),
        ("right", (slice(None), slice(4, None))),
        ("top", (slice(4), slice(None))),
        ("bottom", (slice(4, None), slice(None))),
        ("1,0,2,3", (slice(1, 3), slice(3))),
    ],
)
def test_masks_by_name_and_by_box(mask, missing):
    from ddm_jax.data.pictures import read_mask

    known = read_mask(mask, (8, 8), (), 3)
    expected = np.ones((3, 8, 8, 1), bool)
    expected[:, *missing] = False
    np.testing.assert_array_equal(known, expected)
    if mask == "centre":
        np.testing.assert_array_equal(read_mask("outer", (8, 8), (), 3), ~known)
