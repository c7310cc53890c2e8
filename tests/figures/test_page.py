"""Pages as functions of texts, numbers and curves: structure, escaping, places and sizes."""

import base64
import hashlib
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from ddm_jax.figures import charts, page
from ddm_jax.figures.shrinking import shrunk

EVIL = "<script>alert('&\"')</script>"
VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Elements as (tag, attributes), texts, and what is not closed in the order it was opened."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.opened = [], [], []
        self.feed(text)
        self.close()
        assert not self.opened, self.opened

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.opened.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.opened.pop() == tag, tag

    def handle_data(self, data):
        if self.opened[-1:] not in (["script"], ["style"]):
            self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def check_page(text):
    """Balanced, without an address, with one script and one style, of the sums in its policy."""
    found = Reader(text)
    assert len(found.all("script")) == len(found.all("style")) == 1
    for _, attributes in found.elements:
        assert not {"href", "style", "srcset", "action"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("src", "data:image/png").startswith("data:image/png")
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) and "http:" not in text and "https:" not in text
    (policy,) = [a["content"] for a in found.all("meta") if "http-equiv" in a]
    for tag in ("style", "script"):
        (inner,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    return found


def drawn(n, side=8):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (n, side, 3), np.uint8)).save(
        file, "PNG"
    )
    return file.getvalue()


def test_every_text_stays_text():
    cells = [[page.Cell(EVIL, None, {EVIL: EVIL}, True), page.cell(EVIL)]]
    parts = [
        page.section(EVIL, page.paragraph(EVIL, True), page.listed([EVIL])),
        page.table([EVIL, EVIL], cells, EVIL),
        page.cards([(EVIL, EVIL, drawn(8))]),
        charts.lines({EVIL: (np.arange(3.0), np.ones(3))}, EVIL, EVIL),
    ]
    found = check_page(page.document(EVIL, parts))
    seen = "".join(found.texts)
    heads, table, card, chart = 5, 6, 2, 3
    assert seen.count(EVIL) == heads + table + card + chart
    assert sum(EVIL in str(v) for _, a in found.elements for v in a.values()) == 4


def test_what_no_file_can_hold_is_replaced():
    text = page.document("half \ud800 and zero \0", [])
    assert "half \\ud800 and zero \ufffd" in text and text.encode()


@pytest.mark.parametrize(
    "value, text, number",
    [
        (None, "", None),
        (12345, "12,345", 12345.0),
        (0.000123456, "0.00012346", 0.000123456),
        (-2.0, "-2", -2.0),
        (True, "True", None),
        (float("nan"), "nan", None),
        (float("inf"), "inf", None),
        ("12", "12", None),
        ((1, 2), "(1, 2)", None),
    ],
)
def test_a_number_sorts_by_all_its_digits_and_shows_five(value, text, number):
    assert page.cell(value) == page.Cell(text, number)


def test_columns_of_numbers_and_gaps_stand_to_the_right():
    rows = [[page.cell(v) for v in row] for row in ([1.5, "a", 2], [None, "b", "x"])]
    found = Reader(page.table(["n", "t", "both"], rows, "numbers"))
    assert [a.get("class") for a in found.all("th")] == ["number", None, None]
    cells = [(a.get("class"), a.get("data-number")) for a in found.all("td")]
    assert cells[:3] == [("number", "1.5"), (None, None), (None, "2.0")]
    assert cells[3] == ("number", None)
    assert Reader(page.table(["a"], [], "empty")).all("th")


def test_a_long_text_is_cut():
    found = Reader(page.table(["t"], [[page.cell("a" * 1000)]], "long"))
    assert max(map(len, found.texts)) == page.LONGEST


def points(svg):
    """(n, 2): every point of the curves of a chart."""
    paths = re.findall(r'class="curve[^"]*" d="([^"]*)"', svg)
    return [np.array(re.findall(r"[ML]([\d.]+) ([\d.]+)", p), float) for p in paths]


def test_curves_lie_where_their_axes_say():
    """A power law is straight on a logarithmic axis, and its ends lie in the corners."""
    x = np.arange(5.0)
    (found,) = points(charts.lines({"a": (x, 10.0**-x)}, "x", "y"))
    right, low = charts.WIDTH - charts.RIGHT, charts.HEIGHT - charts.BOTTOM
    np.testing.assert_allclose(found[0], [charts.LEFT, charts.TOP], atol=0.1)
    np.testing.assert_allclose(found[-1], [right, low], atol=0.1)
    np.testing.assert_allclose(np.diff(found, axis=0).std(0), 0, atol=0.1)
    (found,) = points(charts.lines({"a": (x, x - 2)}, "x", "y"))
    np.testing.assert_allclose(np.diff(found, axis=0).std(0), 0, atol=0.1)


@pytest.mark.parametrize(
    "low, high", [(0.02, 1.5), (1e-9, 1e6), (0.5, 0.6), (-3, 7), (1e-300, 1e99), (-1e99, 1e99)]
)
def test_ticks_are_few_and_lie_within(low, high):
    axis = charts._Axis(np.array([low, high], float), 100, low > 0)
    ticks = axis.ticks()
    assert 3 <= len(ticks) <= 24 and low <= min(ticks) and max(ticks) <= high * (1 + 1e-9)
    places = np.array([axis.place(tick) for tick in ticks])
    assert (np.diff(places) > 0).all() and places[0] >= -1e-9 and places[-1] <= 100 + 1e-9


def test_a_gap_breaks_a_curve_and_a_lone_point_is_a_dot():
    y = np.array([1.0, 2, np.nan, 3, np.inf, 1e200, 5, 6])
    svg = charts.lines({"a": (np.arange(8.0), y)}, "x", "y")
    (path,) = re.findall(r'class="curve c0 d0" d="([^"]*)"', svg)
    assert re.sub(r"[\d. ]", "", path) == "MLMML" and svg.count("<circle") == 1
    assert charts.lines({"a": (np.arange(2.0), np.full(2, np.nan))}, "x", "y") == ""
    assert charts.lines({}, "x", "y") == ""
    assert svg.count("nan") == 0


def test_a_long_curve_is_thinned_to_means_of_neighbours():
    x, y = np.arange(1001.0), np.arange(1001.0) * 2
    y[::7] = np.nan
    found = charts.thinned(x, y)
    assert len(found[0]) == charts.POINTS
    assert abs(found[0] * 2 - found[1]).max() <= 2
    exact = charts.thinned(x[:50], y[:50])
    np.testing.assert_array_equal(exact, (x[:50], y[:50]))


def test_as_many_curves_as_can_be_told_apart():
    curves = {f"run {k}": (np.arange(2.0), np.ones(2) + k) for k in range(charts.CURVES)}
    looks = re.findall(r'class="curve ([^"]*)"', charts.lines(curves, "x", "y"))
    assert len(set(looks)) == charts.CURVES
    for look in looks[0].split() + looks[-1].split():
        assert look == "d0" or f".{look} " in page._asset("page.css")
    with pytest.raises(ValueError, match="cannot be told apart"):
        charts.lines({**curves, "more": curves["run 0"]}, "x", "y")


def test_a_picture_is_as_large_as_fits():
    with Image.open(io.BytesIO(shrunk(drawn(60, 60), 20_000))) as small:
        assert small.size == (60, 60) and small.format == "PNG"
    big = drawn(400, 300)
    found = shrunk(big, 150_000)
    with Image.open(io.BytesIO(found)) as picture:
        assert len(found) <= 150_000 and picture.size == (187, 250)
    for broken in (b"", b"<script>", big[:1000]):
        with pytest.raises(ValueError, match="no picture"):
            shrunk(broken, 100_000)
    with pytest.raises(ValueError, match="does not fit"):
        shrunk(big, 100)
    file = io.BytesIO()
    Image.new("1", (8000, 8000)).save(file, "PNG")
    with pytest.raises(ValueError, match="8000x8000 pixels are too many"):
        shrunk(file.getvalue(), 100_000)
