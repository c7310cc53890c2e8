"""Which sampler, at which budget and scale of guidance, draws the best sets from a run?

    python experiments/benchmark/run.py runs/quickstart --config.evaluate.samples=898

Further folders are further runs, and settings are those of --mode evaluate. Every cell of samplers,
budgets of evaluations and scales is a call of it, whose numbers join `evaluation/results.jsonl`.
They stand in `evaluation/benchmark.jsonl` too, and are not taken again for the same weights,
settings and code. Scales above 1 are of classifier-free guidance, for runs that dropped their
condition while trained.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from ddm_jax import verbs  # noqa: E402
from ddm_jax.answering import Parser, answered, count, numbers  # noqa: E402
from ddm_jax.errors import UserError  # noqa: E402
from ddm_jax.evaluation.protocol import code  # noqa: E402
from ddm_jax.training.logs import read  # noqa: E402
from ddm_jax.verbs.opened import open_run  # noqa: E402

SAMPLERS = ("ddpm", "ddim", "dpmpp_2m", "heun")
BUDGETS = (5, 10, 20, 50)
SCALES = (1.0, 1.5)
METRICS = "frechet,kid,precision_recall"
COLUMNS = ("run", "sampler", "evaluations", "scale", "FD", "KID", "precision", "recall")


class Cell(NamedTuple):
    """What a set of samples is drawn with."""

    sampler: str
    budget: int
    scale: float

    def arguments(self, settings: Sequence[str]) -> list[str]:
        """As the command line of --mode evaluate has it."""
        guidance = "none" if self.scale == 1 else "classifier_free"
        own = [
            f"evaluate.metrics={METRICS}",
            f"sampler.name={self.sampler}",
            f"sample.evaluations={self.budget}",
            f"guidance.name={guidance}",
        ]
        if self.scale != 1:
            own.append(f"guidance.classifier_free.scale={self.scale:g}")
        return [*settings, *(f"--config.{text}" for text in own)]


def cells(run: Path, grid: argparse.Namespace) -> Iterator[Cell]:
    """Those that a run can be sampled with; of two evaluations a step, what a budget pays for."""
    config = open_run(run).run.config
    if "sampler" not in config:
        raise UserError(f"{run} is a run that nothing is sampled from; name runs of diffusion")
    for scale in grid.scales if config.loss.class_dropout > 0 else [1.0]:
        for sampler in grid.samplers:
            chosen = open_run(run, [f"--config.sampler.name={sampler}"]).setup.task.generator
            each = chosen.sampler.evaluations or 1
            for budget in grid.budgets:
                yield Cell(sampler, budget - (budget - 1) % each, scale)


def counts(text: str) -> list[int]:
    """Whole numbers with commas between them, as the type of an argument."""
    return [count(part) for part in text.split(",")]


def names(text: str) -> list[str]:
    return text.split(",")


def measured(run: Path, cell: Cell, settings: Sequence[str]) -> dict[str, Any]:
    """The numbers of a cell by their names, and the floor of the distance."""
    kept, results = (run / "evaluation" / name for name in ("benchmark.jsonl", "results.jsonl"))
    step = max(
        (int(p.name) for p in (run / "checkpoints").iterdir() if p.name.isdigit()), default=0
    )
    key = {"cell": cell._asdict(), "settings": [*settings], "step": step, "code": code()}
    for row in read(kept):
        if row["key"] == key:
            return row["numbers"]
    before = len(read(results))
    verbs.evaluate(run, cell.arguments(settings))
    numbers: dict[str, Any] = {}
    for row in read(results)[before:]:
        numbers |= {**row["numbers"], "name": numbers.get("name", row["name"])}
        if row["metric"] == "frechet":
            numbers["floor"] = row["floor"]["numbers"]["frechet"]
    with kept.open("a") as file:
        file.write(json.dumps({"key": key, "numbers": numbers}) + "\n")
    return numbers


def main(arguments: Sequence[str]) -> None:
    parser = Parser(__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--samplers", type=names, default=SAMPLERS, help="as in ddim,heun")
    parser.add_argument("--budgets", type=counts, default=BUDGETS, help="evaluations, as in 5,10")
    parser.add_argument("--scales", type=numbers, default=SCALES, help="of guidance, as in 1,1.5")
    parser.add_argument("--out", type=Path, default=HERE / "distance.png")
    flags, settings = parser.parse_known_args(arguments)
    figure = Figure(figsize=(4.2 * len(flags.runs) + 1, 3.8), layout="constrained")
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for run, axes in zip(
        flags.runs, figure.subplots(1, len(flags.runs), squeeze=False)[0], strict=True
    ):
        found = {cell: measured(run, cell, settings) for cell in cells(run, flags)}
        for cell, row in found.items():
            shown = f"{row['frechet']:.4f} | {row['kid']:.6f} | {row['precision']:.3f}"
            lines.append(
                f"| {run.name} | {cell.sampler} | {cell.budget} | {cell.scale:g} | {shown} | "
                f"{row['recall']:.3f} |"
            )
        draw(axes, run.name, found, flags.budgets)
    print("\n".join(lines))
    figure.savefig(flags.out, dpi=90)
    print(f"wrote {flags.out}")


def draw(axes: Any, title: str, found: dict[Cell, dict[str, Any]], budgets: Sequence[int]) -> None:
    """The distance against the budget, a line for each sampler and scale, and the floor."""
    scales = sorted({cell.scale for cell in found})
    for number, sampler in enumerate(dict.fromkeys(cell.sampler for cell in found)):
        for scale in scales:
            own = [cell for cell in found if cell[::2] == (sampler, scale)]
            style = "-" if scale == scales[0] else "--"
            line = [cell.budget for cell in own], [found[cell]["frechet"] for cell in own]
            axes.plot(*line, style, marker="o", color=f"C{number}", label=f"{sampler}, {scale:g}")
    row = next(iter(found.values()))
    axes.axhline(row["floor"], color="grey", linestyle=":", label="other data")
    axes.set(xscale="log", yscale="log", xlabel="evaluations", ylabel=row["name"], title=title)
    axes.set_xticks(budgets, map(str, budgets))
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
