"""How fast is a train step here, beside the same network in torch and beside the machine?

    python experiments/speed/run.py --batch 8

The network is that of configs/cifar_cosine.py, 35.7 million parameters, with dropout, clipping,
Adam and an average; beside it stands diffusers' UNet2DModel with the same weights, eager and
compiled, in float32 and in bfloat16 (needs the extra `parity`). First gradients of all are
compared, then all take turns, one call each; the shortest of --rounds counts. torch's compiler
takes long on two cores: --ways "eager;eager, channels last" leaves it out. Further arguments are
settings, as in --config.model.ddpm_unet.channels=64. Prints a table; writes results.json and
speed.png to --out.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import theirs as their_side  # noqa: E402
from ours import ROOT, SHAPE, Ours, device, gradients, seconds, started  # noqa: E402
from theirs import WAYS, Theirs  # noqa: E402

from ddm_jax.answering import Parser, answered, count  # noqa: E402

CONFIG = str(ROOT / "configs/cifar_cosine.py")
DTYPES = ("float32", "bfloat16")
OURS = "ddm_jax"
AGREE = {"float32": 1e-3, "bfloat16": 0.1}  # of the norm of a gradient
COLUMNS = (
    *("who", "type", "train step, ms", "share of the peak", "forward, ms", "samples/s"),
    *("first step, s", "memory, GiB"),
)
Side = Ours | Theirs


class Turn(NamedTuple):
    """Seconds: the shortest, and those of the first call, which compiles."""

    shortest: float
    first: float


def sides(flags: argparse.Namespace, settings: Sequence[str]) -> dict[tuple[str, str], Side]:
    """By (who, dtype), those whose gradients agree with those of our float32."""
    own = (*settings, f"sample.steps={flags.evaluations}")
    found: dict[tuple[str, str], Side] = {}
    for dtype in flags.types:
        found[OURS, dtype] = Ours(CONFIG, own, dtype, flags.batch)
    reference = found.get((OURS, "float32")) or Ours(CONFIG, own, "float32", flags.batch)
    assert isinstance(reference, Ours)
    written, tensors = started(reference)
    rng = np.random.default_rng(2)
    x, noise = (rng.normal(size=(2, *SHAPE)).astype(np.float32) for _ in range(2))
    arrays = x, np.array([20.0, 700.0], np.float32), noise
    wanted = gradients(reference, tensors, arrays)
    for way in flags.ways.split(";"):
        for dtype in flags.types:
            sizes = {"batch": flags.batch, "evaluations": flags.evaluations}
            found[way, dtype] = Theirs(written, tensors, way, dtype=dtype, **sizes)
    for (who, dtype), side in list(found.items()):
        if isinstance(side, Ours):
            got = gradients(side, tensors, arrays)
        else:
            got = side.gradients(arrays)
        off = apart(got, wanted)
        print(f"gradient of {who}, {dtype}: {off:.1e} of its norm from that of ours", flush=True)
        if off > AGREE[dtype]:
            print(f"left out: {who}, {dtype}")
            del found[who, dtype]
    return found


def apart(got: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> float:
    """|got - wanted| / |wanted|, over all tensors."""
    assert got.keys() == wanted.keys(), got.keys() ^ wanted.keys()
    square = sum(((got[name] - wanted[name]) ** 2).sum() for name in wanted)
    return float(np.sqrt(square / sum((a**2).sum() for a in wanted.values())))


def turns(found: dict[tuple[str, str], Side], what: str, rounds: int) -> dict[Any, Turn]:
    """A first call of each, then `rounds` of all in turns."""
    calls: dict[Any, Callable[[], None]] = {who: getattr(side, what) for who, side in found.items()}
    first = [seconds(call) for call in calls.values()]
    times = [[seconds(call) for call in calls.values()] for _ in range(rounds)]
    result = {
        who: Turn(min(own), before)
        for who, own, before in zip(calls, zip(*times, strict=True), first, strict=True)
    }
    for (who, dtype), turn in result.items():
        print(f"{what} of {who}, {dtype}: {1e3 * turn.shortest:.0f} ms", flush=True)
    return result


def machine() -> dict[str, float]:
    """Measured peaks: FLOP/s of a large product of matrices, by type, and bytes/s of a copy."""
    found, size = {}, 2048 if jax.default_backend() == "cpu" else 8192
    for dtype in DTYPES:
        best = shortest(lambda a: a @ a, jnp.ones((size, size), dtype))
        found[f"FLOP/s, {dtype}"] = 2 * size**3 / best
    x = jnp.ones((64 if jax.default_backend() == "cpu" else 1024, 2**20))
    found["bytes/s"] = 2 * x.nbytes / shortest(lambda x: x + 1, x)
    return found


def shortest(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> float:
    """The shortest seconds of ten calls."""
    compiled = jax.jit(function).lower(x).compile()
    return min(seconds(lambda: compiled(x).block_until_ready()) for _ in range(10))


def alone(who: str, dtype: str, arguments: Sequence[str]) -> float:
    """The largest memory of a process that takes two steps of one side, in GiB."""
    command = [sys.executable, str(HERE / "run.py"), "--alone", f"{who}/{dtype}", *arguments]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(out.split()[-1])


def one(flags: argparse.Namespace, settings: Sequence[str]) -> float:
    """Two steps of the side that `--alone` names, and the memory that they took."""
    who, dtype = flags.alone.split("/")
    own = Ours(CONFIG, settings, dtype, flags.batch)
    side: Side = own
    if who != OURS:
        sizes = {"batch": flags.batch, "evaluations": flags.evaluations}
        side = Theirs(*started(own), who, dtype=dtype, **sizes)
    side.step()
    side.step()
    if jax.default_backend() == "cpu":
        lines = dict(row.split(":", 1) for row in Path("/proc/self/status").open())
        return int(lines["VmHWM"].split()[0]) / 2**20  # ru_maxrss would begin at the parent's
    if who == OURS:
        return jax.devices()[0].memory_stats()["peak_bytes_in_use"] / 2**30
    return their_side.torch.cuda.max_memory_allocated() / 2**30


def main(given: Sequence[str]) -> None:
    parser = Parser(__doc__)
    parser.add_argument("--batch", type=count, default=8)
    parser.add_argument("--rounds", type=count, default=7)
    parser.add_argument("--evaluations", type=count, default=5, help="of the network, in sampling")
    parser.add_argument("--ways", default=";".join(WAYS), help="of torch, as in 'eager'")
    parser.add_argument("--types", nargs="+", choices=DTYPES, default=DTYPES, help="of both")
    parser.add_argument("--alone", default="", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=HERE)
    flags, more = parser.parse_known_args(given)
    flags.out.mkdir(parents=True, exist_ok=True)
    settings = [text.removeprefix("--config.") for text in more]
    if flags.alone:
        print(one(flags, settings))
        return
    jax.config.update("jax_enable_compilation_cache", False)
    peaks, found = machine(), sides(flags, settings)
    rows = measured(flags, found, peaks, more)
    versions = {"jax": jax.__version__, "torch": their_side.torch.__version__}
    result = {"device": device(), **versions, "batch": flags.batch, "settings": settings}
    result |= {"peaks": peaks, "rows": rows}
    (flags.out / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(rows, device()).savefig(flags.out / "speed.png", dpi=90)
    print("\n".join(report(result)))


def measured(
    flags: argparse.Namespace, found: dict[Any, Side], peaks: dict[str, float], more: list[str]
) -> list[dict[str, Any]]:
    """A row of COLUMNS for each side."""
    times = {what: turns(found, what, flags.rounds) for what in ("step", "forward", "sample")}
    sizes = ["--batch", str(flags.batch), *more]
    flops, rows = found[OURS, flags.types[0]].flops, []
    for who, dtype in found:
        step = times["step"][who, dtype]
        values = (
            *(who, dtype, 1e3 * step.shortest),
            flops / step.shortest / peaks[f"FLOP/s, {dtype}"],
            1e3 * times["forward"][who, dtype].shortest,
            flags.batch / times["sample"][who, dtype].shortest,
            *(step.first, alone(who, dtype, sizes)),
        )
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def report(result: dict[str, Any]) -> list[str]:
    """The table as markdown, and what the machine can do."""
    lines = [f"{result['device']}, jax {result['jax']}, torch {result['torch']}"]
    peaks = (f"{name}: {value:.3g}" for name, value in result["peaks"].items())
    lines += [f"measured peaks: {'; '.join(peaks)}", ""]
    lines += [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    for row in result["rows"]:
        who, dtype, step, share, *rest = row.values()
        numbers = " | ".join(f"{value:.2f}" for value in rest[1:])
        lines.append(f"| {who} | {dtype} | {step:.0f} | {share:.0%} | {rest[0]:.0f} | {numbers} |")
    return lines


def draw(rows: list[dict[str, Any]], title: str) -> Figure:
    """Bars of the train step's milliseconds, those of this project dark."""
    figure = Figure(figsize=(7, 0.35 * len(rows) + 1), layout="constrained")
    axes = figure.subplots()
    rows = sorted(rows, key=lambda row: -row["train step, ms"])
    names = [f"{row['who']}, {row['type']}" for row in rows]
    colours = ["C0" if row["who"] == OURS else "0.7" for row in rows]
    bars = axes.barh(names, [row["train step, ms"] for row in rows], color=colours)
    axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.set(xlabel="ms a train step", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
