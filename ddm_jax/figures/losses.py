"""Curves of losses: over steps, over noise levels and over times."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ddm_jax.figures.plots import saved

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def loss_curve(
    rows: list[dict[str, Any]], path: Path | None = None, unit: str = "mean over elements"
) -> "Figure":
    """Loss against step, from the rows of metrics.jsonl; a matplotlib Figure."""
    losses = [r["loss"] for r in rows]
    figure, axes = _figure("training loss", "step", f"loss ({unit})")
    axes.plot([r["step"] for r in rows], losses, linewidth=1)
    if min(losses) > 0:
        axes.set_yscale("log")
    return saved(figure, path)


def by_level(
    rows: list[dict[str, Any]],
    path: Path | None = None,
    name: str = "loss",
    unit: str = "mean over elements",
) -> "Figure":
    """`<name>_by_level`, the mean of the last quarter of the rows; a matplotlib Figure."""
    label = f"{name} ({unit})" if name == "loss" else name
    figure, axes = _figure(f"{name} per noise level", "t (0: least noise, 1: most)", label)
    mean = level_means(rows, name)
    some = ~np.isnan(mean)
    bins = len(mean)
    axes.bar(((np.arange(bins) + 0.5) / bins)[some], mean[some], width=0.9 / bins)
    return saved(figure, path)


def level_means(rows: Sequence[dict[str, Any]], name: str = "loss") -> np.ndarray:
    """`<name>_by_level` as the mean of the last quarter of the rows; nan where nothing fell."""
    table = np.array([r[f"{name}_by_level"] for r in rows[-max(1, len(rows) // 4) :]], float)
    seen = ~np.isnan(table)  # None has become nan
    mean = np.where(seen, table, 0).sum(0) / np.maximum(seen.sum(0), 1)
    return np.where(seen.any(0), mean, np.nan)


def by_time(
    times: np.ndarray, curves: Mapping[str, np.ndarray], path: Path | None = None
) -> "Figure":
    """Errors of x_0 (L,) at times (L,), a line each with its name; a matplotlib Figure."""
    title, label = "error of x_0 per noise level", "mean squared error per element"
    figure, axes = _figure(title, "t (0: least noise, 1: most)", label)
    order = np.argsort(times)
    for name, values in curves.items():
        axes.plot(times[order], values[order], marker=".", linewidth=1, label=name)
    if min(values.min() for values in curves.values()) > 0:
        axes.set_yscale("log")
    axes.legend(fontsize=8)
    return saved(figure, path)


def _figure(title: str, x: str, y: str) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel=x, ylabel=y)
    axes.grid(which="both", alpha=0.3)
    return figure, axes
