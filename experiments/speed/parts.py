"""Which parts of the network and of the update does a train step spend its time on?

    python experiments/speed/parts.py --batch 8

The train step of configs/cifar_cosine.py is traced by jax's profiler. An operation of the compiled
program belongs to the part that its name tells, in the words of the code that asked for it; where
the compiler has made one operation of several, it bears the name of the last. Further arguments are
settings, as in --config.model.ddpm_unet.channels=64. Prints a table; writes parts.json and
parts.png to --out.
"""

import json
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from ours import Ours, device  # noqa: E402

from ddm_jax.answering import Parser, answered, count  # noqa: E402
from ddm_jax.verbs.profiling import begin, end, operations  # noqa: E402

CONFIG = str(HERE.parents[1] / "configs/cifar_cosine.py")
CONVOLUTION, UPDATE, BACKWARD = "/conv", "/update/", "transpose("
# The first that is found in what an operation is named after.
PARTS = {
    "convolutions": CONVOLUTION,
    "random draws and dropout": r"threefry|random_bits|_uniform|_normal|_bernoulli|/Dropout_",
    "clipping, optimiser and average": UPDATE,
    "norms": r"/norm\w*/",
    "attention": r"attention\d*/",
}
PRODUCTS = ("convolution", "dot")
ELSE = "everything else"
WAYS = {"forward": False, "backward": True}
INSTRUCTION = re.compile(r"\s*(?:ROOT )?%?([\w.\-]+) = .*? ([\w\-]+)\(([^)]*)\)")
NAME = re.compile(r'metadata={[^}]*op_name="(jit\([^"]*)"')


def named(program: str) -> dict[str, str]:
    """What the operations of a compiled program, given as text, are named after.

    A product that the compiler has left no name has that of what it multiplies, of the backward
    pass where any is; another operation that of the first in the network that uses it, for which it
    lays out numbers, or else of what it takes.
    """
    names, opcodes, operands, users = {}, {}, {}, defaultdict(list)
    for line in program.splitlines():
        if found := INSTRUCTION.match(line):
            op, opcodes[op], given = found.groups()
            name = NAME.search(line)
            names[op] = name[1] if name else ""
            operands[op] = re.findall(r"%([\w.\-]+)", given)
            for operand in operands[op]:
                users[operand].append(op)
    sources: dict[str, str] = {}
    for op, name in names.items():
        before = (sources.get(operand, "") for operand in operands[op])
        source = max(before, key=lambda name: (BACKWARD in name, name), default="")
        sources[op] = name or source + CONVOLUTION * (opcodes[op] == "convolution")
    for op in reversed(names):
        if not names[op] and opcodes[op] not in PRODUCTS:
            after = (names[user] for user in users[op])
            names[op] = next((name for name in after if name and UPDATE not in name), "")
        names[op] = names[op] or sources[op]
    return names


def part_of(name: str) -> tuple[str, bool]:
    """The part of the step that this is the name of, and whether of its backward pass."""
    found = (part for part, pattern in PARTS.items() if re.search(pattern, name))
    return next(found, ELSE), BACKWARD in name


def traced(ours: Ours, steps: int) -> dict[tuple[str, bool], float]:
    """Seconds a step that the operations of each part take, forward and backward."""
    ours.step()
    ours.step()
    names = named(ours.program.as_text())
    found: dict[tuple[str, bool], float] = defaultdict(float)
    with tempfile.TemporaryDirectory() as folder:
        begin(Path(folder))
        for _ in range(steps):
            ours.step()
        for op in operations(end(Path(folder)), steps):
            found[part_of(names.get(op.name, ""))] += op.seconds
    return found


def main(given: Sequence[str]) -> None:
    parser = Parser(__doc__)
    parser.add_argument("--batch", type=count, default=8)
    parser.add_argument("--steps", type=count, default=5, help="that are traced")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--out", type=Path, default=HERE)
    flags, more = parser.parse_known_args(given)
    flags.out.mkdir(parents=True, exist_ok=True)
    settings = [text.removeprefix("--config.") for text in more]
    found = traced(Ours(CONFIG, settings, flags.dtype, flags.batch), flags.steps)
    rows = [
        {"part": part, **{way: 1e3 * found[part, back] for way, back in WAYS.items()}}
        for part in (*PARTS, ELSE)
    ]
    rows.sort(key=lambda row: -sum(row[way] for way in WAYS))
    about = {"device": device(), "jax": jax.__version__, "dtype": flags.dtype}
    result = {**about, "batch": flags.batch, "settings": settings, "ms": rows}
    (flags.out / "parts.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(rows, f"{flags.dtype}, {about['device']}").savefig(flags.out / "parts.png", dpi=90)
    print("\n".join(report(rows)))


def report(rows: list[dict[str, Any]]) -> list[str]:
    """The table as markdown."""
    total = sum(row[way] for row in rows for way in WAYS)
    lines = ["| part | forward, ms | backward, ms | share |", "|---|---|---|---|"]
    for row in rows:
        ms = [row[way] for way in WAYS]
        lines.append(f"| {row['part']} | {ms[0]:.0f} | {ms[1]:.0f} | {sum(ms) / total:.1%} |")
    return lines


def draw(rows: list[dict[str, Any]], title: str) -> Figure:
    """A bar for each part, the dearest on top, its forward and its backward milliseconds."""
    figure = Figure(figsize=(7, 0.4 * len(rows) + 1), layout="constrained")
    axes = figure.subplots()
    names, left = [row["part"] for row in rows], np.zeros(len(rows))
    for way, colour in zip(WAYS, ("C0", "0.7"), strict=True):
        ms = np.array([row[way] for row in rows])
        axes.barh(names, ms, left=left, color=colour, label=way)
        left = left + ms
    axes.invert_yaxis()
    axes.set(xlabel="ms a train step", title=title)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
