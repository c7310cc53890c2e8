"""Pictures and animations as functions of arrays: sizes, pixels, titles and frames."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from ddm_jax.errors import UserError
from ddm_jax.figures import films, losses, plots

RNG = np.random.default_rng(0)


def images(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def frames_of(path):
    """(frames as RGB arrays, milliseconds of each)."""
    with Image.open(path) as film:
        seen = []
        for k in range(film.n_frames):
            film.seek(k)
            seen.append((np.asarray(film.convert("RGB")), film.info["duration"]))
    return tuple(zip(*seen, strict=True))


def texts(figure):
    return [text.get_text() for text in figure.texts]


def pixels_of(figure, path):
    figure.savefig(path, dpi=figure.dpi)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_strip_shows_every_pixel_and_title(channels, tmp_path):
    rows = images(2, 3, 8, 8, channels) / 255
    path = tmp_path / "strip.png"
    figure = plots.strip(rows, ["a", "b"], ["t = 1", "t = 0.5", "t = 0"], "way", path=path)
    assert texts(figure) == ["way", "t = 1", "t = 0.5", "t = 0", "a", "b"]
    found = pixels_of(figure, tmp_path / "again.png")
    with Image.open(path) as picture:
        np.testing.assert_array_equal(found, np.asarray(picture.convert("RGB")))
    # The last tile lies 4 + 8 pixels from the right edge and 4 from the lower one.
    tile = np.broadcast_to(plots.enlarged(plots.to_uint8(rows))[1, 2], (64, 64, 3))
    np.testing.assert_array_equal(found[-68:-4, -76:-12], tile)
    # A grey line around it, without which a white mask could not be seen on white paper.
    edges = found[-69, -77:-11], found[-4, -77:-11], found[-69:-3, -77], found[-69:-3, -12]
    assert all((edge == 208).all() for edge in edges)


def test_text_stays_inside_the_picture():
    names = ["example 1234 (class a long name), x0_hat"]
    figure = plots.strip(
        np.ones((1, 2, 40, 40, 3)), names, ["t = 0.25\n3.4%", "original"], "t" * 90
    )
    renderer = FigureCanvasAgg(figure).get_renderer()
    width, height = figure.bbox.width, figure.bbox.height
    for text in figure.texts:
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text
    boxes = [text.get_window_extent(renderer) for text in figure.texts[1:3]]
    assert boxes[0].x1 < boxes[1].x0


def test_forward_strip_says_time_and_share_of_signal():
    figure = plots.forward_strip(np.zeros((3, 2, 8, 8, 1)), [0, 0.5, 1], [np.log(99), 0, -9.0])
    shown = texts(figure)
    assert "t = 0.00\n99.0%" in shown and "t = 0.50\n50.0%" in shown and "t = 1.00\n0.0%" in shown
    assert shown[-2:] == ["image 0", "image 1"]


def test_reverse_strip_alternates_x_t_and_estimates(tmp_path):
    x_t, x0 = np.zeros((4, 2, 8, 8, 1)), np.full((4, 2, 8, 8, 1), 0.6)
    figure = plots.reverse_strip(x_t, x0, [1, 0.6, 0.3, 0])
    shown = texts(figure)
    assert shown[1:5] == ["t = 1.00", "t = 0.60", "t = 0.30", "t = 0.00"]
    assert shown[5:] == ["image 0, x_t", "image 0, x0_hat", "image 1, x_t", "image 1, x0_hat"]
    found = pixels_of(figure, tmp_path / "strip.png")[..., 0]
    values, counts = np.unique(found, return_counts=True)
    area = dict(zip(values.tolist(), counts.tolist(), strict=True))
    assert area[153] == pytest.approx(8 * 64**2, rel=0.01)  # x0, 0.6


@pytest.mark.parametrize("lines", range(1, plots.LINES + 1))
@pytest.mark.parametrize("each", [False, True], ids=["columns", "images"])
def test_captions_of_any_length_stand_whole_within_the_picture(lines, each):
    """And above what they name: the next row of images lies below its captions."""
    caption = " ".join(["background"] * lines)  # one word fills a line
    captions = [caption, "b", *([caption, "d"] if each else [caption, "b"])]
    figure = plots.labelled_grid(images(4, 16, 16, 3), 2, captions)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    height = figure.bbox.height
    boxes = [t.get_window_extent(canvas.get_renderer()) for t in figure.texts if t.get_text()]
    assert len(boxes) == (4 if each else 2)
    assert all(box.y1 <= height for box in boxes)
    assert boxes[0].height >= 10 * lines
    if each:
        below = boxes[2].y1  # of the first row's images, the lower edge lies above it
        assert below <= boxes[0].y0 - 64


def test_a_labelled_grid_names_columns_or_images():
    few = images(7, 8, 8, 1)
    columns = plots.labelled_grid(few, 3, list("abcabca"))
    assert texts(columns) == ["a", "b", "c"]
    each = plots.labelled_grid(few, 3, ["a very long name of a class", *"bcdefg"])
    assert len(texts(each)) == 7 and texts(each)[0] == "a very\nlong name\nof a class"
    cut = texts(plots.labelled_grid(few, 3, ["so on and " * 9, *"bcdefg"]))[0]
    assert cut.count("\n") == plots.LINES - 1 and cut.endswith("so on and…")
    assert each.bbox.height > columns.bbox.height and each.bbox.width == columns.bbox.width


def test_curves_say_what_is_plotted_and_bear_losses_below_zero():
    rows = [
        {"step": k, "loss": loss, "loss_by_level": [loss, None]} for k, loss in ((1, 0.5), (2, -1))
    ]
    for figure in (
        losses.loss_curve(rows, unit="bits per element"),
        losses.by_level(rows, unit="bits per element"),
    ):
        (axes,) = figure.axes
        assert axes.get_ylabel() == "loss (bits per element)" and axes.get_xlabel()
        assert axes.get_yscale() == "linear"
    assert losses.loss_curve(rows[:1]).axes[0].get_yscale() == "log"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_gif_holds_its_frames_and_its_last_one_longer(channels, tmp_path):
    frames = images(5, 12, 8, channels) // 86 * 85  # few colours, which a palette holds exactly
    films.animation(frames, tmp_path / "film.gif", ms=50, hold=900)
    seen, times = frames_of(tmp_path / "film.gif")
    assert times == (50, 50, 50, 50, 900)
    expected = frames.repeat(21, axis=1).repeat(21, axis=2)  # 256 // 12
    for frame, right in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(frame, np.broadcast_to(right, frame.shape))


def test_grey_levels_are_exact_and_many_colours_close(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    films.animation(np.concatenate([grey, 255 - grey]), tmp_path / "grey.gif")
    seen, _ = frames_of(tmp_path / "grey.gif")
    np.testing.assert_array_equal(seen[0][::16, ::16, 0], grey[0, ..., 0])
    y, x = np.mgrid[:64, :64]
    ramp = np.stack([4 * x, 4 * y, 128 + 0 * x], -1).astype(np.uint8)
    films.animation(np.stack([ramp, ramp[::-1]]), tmp_path / "ramp.gif")
    seen, _ = frames_of(tmp_path / "ramp.gif")
    error = seen[0][::4, ::4].astype(float) - ramp
    assert np.sqrt((error**2).mean()) < 12 and abs(error.mean()) < 2


def test_there_and_back_and_side_by_side():
    frames = images(4, 8, 8, 1)
    back = films.there_and_back(frames)
    np.testing.assert_array_equal(back, frames[[0, 1, 2, 3, 2, 1]])
    assert len(films.there_and_back(frames[:2])) == 2
    many = films.mosaic(images(4, 5, 8, 8, 3), 3)
    assert many.shape == (4, 2 * 10 + 2, 3 * 10 + 2, 3)


def test_what_is_no_film_is_refused(tmp_path):
    with pytest.raises(ValueError, match="frames are"):
        films.animation(images(3, 8, 8), tmp_path / "film.gif")


def test_mp4_without_its_package_is_answered_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(UserError, match=r'pip install -e "\.\[film\]"'):
        films.animation(images(3, 8, 8, 1), tmp_path / "film.mp4")


@pytest.mark.skipif(
    importlib.util.find_spec("imageio_ffmpeg") is None, reason="needs the extra film"
)
@pytest.mark.parametrize("channels", [1, 3])
def test_mp4_holds_its_frames(channels, tmp_path):
    import imageio_ffmpeg

    path = tmp_path / "film.mp4"
    frames = np.stack([np.full((9, 7, channels), v, np.uint8) for v in (0, 120, 240)])
    films.animation(frames, path, ms=100, hold=300)
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path)]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    result = subprocess.run([*program, *raw], capture_output=True, check=True)
    assert b"196x252" in result.stderr and b"10 fps" in result.stderr and b"h264" in result.stderr
    seen = np.frombuffer(result.stdout, np.uint8).reshape(-1, 252, 196, 3)
    for frame, value in zip(seen, (0, 120, 240, 240, 240), strict=True):
        assert abs(frame.astype(float) - value).mean() < 4
    with pytest.raises(UserError, match="cannot write .*nowhere"):
        films.animation(frames, tmp_path / "nowhere" / "film.mp4")
