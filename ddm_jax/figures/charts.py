"""Curves of several runs in one drawing, as SVG in a page of HTML."""

import html
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 70, 30, 12, 46
LARGEST = 1e100  # beyond it nothing is drawn, so that no difference overflows
POINTS = 400  # of a curve, at most
COLOURS, DASHES = 8, 3  # of page.css; together they tell so many curves apart
CURVES = COLOURS * DASHES

Curve = tuple[np.ndarray, np.ndarray]  # x (n,) and y (n,)


def lines(curves: Mapping[str, Curve], x: str, y: str) -> str:
    """Curves by name over common axes, and a legend; "" where no curve has a finite point.

    x, y: what the axes say. y is logarithmic where all of it is positive. At most CURVES of them;
    a long one is thinned to POINTS means of neighbours, and a gap is where y is not finite.
    """
    if len(curves) > CURVES:
        raise ValueError(f"{len(curves)} curves cannot be told apart; give {CURVES} at most")
    thin = {name: thinned(*curve) for name, curve in curves.items()}
    xs, ys = (np.concatenate([c[k] for c in thin.values()] or [np.zeros(0)]) for k in (0, 1))
    if not np.isfinite(ys).any():
        return ""
    xs, ys = xs[np.isfinite(ys)], ys[np.isfinite(ys)]
    log = bool(ys.min() > 0)
    across, up = _Axis(xs, WIDTH - LEFT - RIGHT, False), _Axis(ys, HEIGHT - TOP - BOTTOM, log)
    floor = HEIGHT - BOTTOM
    parts = []
    for value in up.ticks():
        place = floor - up.place(value)
        parts.append(f'<path class="grid" d="M{LEFT} {place:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 8, place + 4, f"{value:.6g}", "end"))
    for value in across.ticks():
        place = LEFT + across.place(value)
        parts.append(f'<path class="grid" d="M{place:.1f} {TOP}V{floor}"/>')
        parts.append(_text(place, floor + 17, f"{value:,.6g}", "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x, "middle"))
    turned = f'transform="rotate(-90 14 {(TOP + floor) / 2})"'
    parts.append(_text(14, (TOP + floor) / 2, y, "middle", more=turned))
    legend = []
    for k, (name, (cx, cy)) in enumerate(thin.items()):
        look = f"c{k % COLOURS} d{k // COLOURS}"
        px, py = LEFT + across.place(cx), floor - up.place(cy)
        parts.append(f'<path class="curve {look}" d="{_path(px, py)}"/>')
        parts += [
            f'<circle class="{look}" cx="{px[i]:.1f}" cy="{py[i]:.1f}" r="2"/>' for i in _alone(py)
        ]
        legend.append(f'<li><i class="{look}"></i>{html.escape(name)}</li>\n')
    label = html.escape(f"{y} against {x}")
    return (
        f'<div class="box" role="region" tabindex="0" aria-label="{label}">\n'
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">\n'
        + "\n".join(parts)
        + f'\n</svg>\n</div>\n<ul class="legend">\n{"".join(legend)}</ul>\n'
    )


def thinned(x: np.ndarray, y: np.ndarray) -> Curve:
    """At most POINTS points of a curve (n,), (n,): the means of neighbours, over finite y alone."""
    groups = min(POINTS, len(x)) or 1
    means = []
    for few_x, few_y in zip(np.array_split(x, groups), np.array_split(y, groups), strict=True):
        good = np.abs(few_y) < LARGEST  # false for nan
        means.append((few_x.mean(), few_y[good].mean() if good.any() else np.nan))
    found = np.array(means, float).reshape(-1, 2)
    return found[:, 0], found[:, 1]


class _Axis:
    """From values to places 0 .. length; the values (n,) are finite, and positive where log."""

    def __init__(self, values: np.ndarray, length: float, log: bool):
        low, high = float(values.min()), float(values.max())
        if low == high:
            low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
        self.low, self.high, self.length, self.log = low, high, length, log

    def place(self, values: Any) -> Any:
        """Places of values (...); nan stays nan."""
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            share = (np.log(values) - low) / (high - low)
        else:
            share = (values - self.low) / (self.high - self.low)
        return share * self.length

    def ticks(self) -> list[float]:
        """Round values within: 1, 2 and 5 by powers of ten, or evenly spaced ones."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            decades = len(powers) > 7
            every = max(1, len(powers) // 7)
            round_ones = [
                digit * 10.0**power
                for power in powers
                for digit in ((1,) if decades else (1, 2, 5))
                if not decades or power % every == 0
            ]
            found = [value for value in round_ones if self.low <= value <= self.high]
            if len(found) >= 3:
                return found
        rough = (self.high - self.low) / 6
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [step * k for k in range(first, last + 1)]


def _path(x: np.ndarray, y: np.ndarray) -> str:
    """Moves and lines through (n,) points; those that are not finite break it."""
    steps, pen = [], "M"
    for a, b in zip(x, y, strict=True):
        if math.isfinite(b):
            steps.append(f"{pen}{a:.1f} {b:.1f}")
        pen = "L" if math.isfinite(b) else "M"
    return "".join(steps)


def _alone(y: np.ndarray) -> np.ndarray:
    """The places of finite values (n,) without a finite neighbour, which no line shows."""
    seen = np.pad(np.isfinite(y), 1)
    return np.flatnonzero(seen[1:-1] & ~seen[:-2] & ~seen[2:])


def _text(x: float, y: float, text: str, anchor: str, *, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{html.escape(text)}</text>'
