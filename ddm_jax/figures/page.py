"""A page of HTML that needs nothing but itself: text, tables that sort, charts and pictures.

All text is escaped here. The page forbids itself every address (a content security policy lets
in its own style and script alone, by their sha256), so it opens without a server or a network.
"""

import base64
import hashlib
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

LONGEST = 300  # characters of a cell


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, the number that it sorts by, and what unfolds below it."""

    text: str
    number: float | None = None
    folded: Mapping[str, str] | None = None
    warning: bool = False


def cell(value: Any) -> Cell:
    """The cell of a value: whole numbers with commas, others with five digits, None empty."""
    if value is None:
        return Cell("")
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not plain or not abs(value) < 1e300:  # what is not finite does not sort as a number
        return Cell(str(value))
    return Cell(f"{value:,}" if isinstance(value, int) else f"{value:.5g}", float(value))


def document(title: str, parts: Iterable[str]) -> str:
    """The whole page: a heading and its parts, which are HTML already."""
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_sum(style)}'; script-src '{_sum(script)}'"
    )
    name = html.escape(title)
    text = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{style}</style>\n</head>\n<body>\n<h1>{name}</h1>\n"
        f"{''.join(parts)}<script>{script}</script>\n</body>\n</html>\n"
    )
    return whole(text)


def whole(text: str) -> str:
    """`text` without what UTF-8 and HTML cannot hold: halves of characters, and zero bytes."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\ufffd")


def section(title: str, *parts: str) -> str:
    """A heading and its parts, which are HTML already."""
    return f"<section>\n<h2>{html.escape(title)}</h2>\n{''.join(parts)}</section>\n"


def paragraph(text: str, warning: bool = False) -> str:
    """A paragraph, set apart where it warns."""
    mark = ' class="warning"' if warning else ""
    return f"<p{mark}>{html.escape(text)}</p>\n"


def listed(lines: Sequence[str], name: str = "notes") -> str:
    """A list of lines, of the class `name`."""
    items = "".join(f"<li>{html.escape(line)}</li>\n" for line in lines)
    return f'<ul class="{name}">\n{items}</ul>\n'


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str) -> str:
    """A table in a box of its own that scrolls; with JavaScript its columns sort.

    A column whose cells are all numbers or empty is aligned to the right.
    """
    columns = list(zip(*rows, strict=True)) or [()] * len(header)
    right = [
        bool(column) and all(c.number is not None or not c.text for c in column)
        for column in columns
    ]
    heads = "".join(
        f'<th scope="col"{_right(r)}>{html.escape(name)}</th>'
        for name, r in zip(header, right, strict=True)
    )
    body = "".join(
        f"<tr>{''.join(_td(c, r) for c, r in zip(row, right, strict=True))}</tr>\n" for row in rows
    )
    return (
        f'<div class="box" role="region" tabindex="0" aria-label="{html.escape(caption)}">\n'
        f'<table class="sortable">\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}</tbody>\n'
        "</table>\n</div>\n"
    )


def cards(pictures: Sequence[tuple[str, str, bytes]]) -> str:
    """Pictures side by side: (heading, text below, PNG) each."""
    return f'<div class="cards">\n{"".join(_card(*picture) for picture in pictures)}</div>\n'


def _card(name: str, text: str, png: bytes) -> str:
    name, text = html.escape(name), html.escape(text)
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return (
        f'<figure class="card">\n<figcaption><b>{name}</b><br>{text}</figcaption>\n'
        f'<img src="{source}" alt="{text} of {name}">\n</figure>\n'
    )


def _td(c: Cell, right: bool) -> str:
    text = c.text if len(c.text) <= LONGEST else c.text[: LONGEST - 1] + "…"
    inner = html.escape(text)
    if c.warning:
        inner += ' <span class="warning">&#9888;</span>'
    if c.folded is not None:
        pairs = "".join(
            f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in c.folded.items()
        )
        inner = f"<details><summary>{inner}</summary><dl>{pairs}</dl></details>"
    number = "" if c.number is None else f' data-number="{c.number!r}"'
    return f"<td{_right(right)}{number}>{inner}</td>"


def _right(right: bool) -> str:
    return ' class="number"' if right else ""


def _asset(name: str) -> str:
    return resources.files("ddm_jax.figures").joinpath(name).read_text(encoding="utf-8")


def _sum(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
