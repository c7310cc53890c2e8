"""What does guidance by text buy, and what does it cost?

    python launch.py --config configs/shapes_text.py
    python experiments/guidance_tradeoff/run.py [folders of runs on shapes]

At each scale a run draws every pair of colour and shape PER_PAIR times, asked for by captions with
a size, a place and a background. The exact oracle of the data reads colour and shape: right is the
share with both as asked, of pairs that were trained on and of those that were left out; size, place
and background are the shares of all images with these as asked. Diversity is the mean distance of
two images of one pair, by that of the data. What was measured, of these runs and of earlier ones,
is kept in curve.json, drawn in curve.png and printed; samples_<run>.png shows circles.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure
from scipy.spatial.distance import pdist

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from ddm_jax import files  # noqa: E402
from ddm_jax.answering import Parser, answered  # noqa: E402
from ddm_jax.data import shapes  # noqa: E402
from ddm_jax.figures import plots  # noqa: E402
from ddm_jax.verbs.opened import Opened, open_run  # noqa: E402

PER_PAIR = 12
SCALES = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
OTHERS = {"size": "size", "position": "place", "background": "background"}  # and their titles
HEADS = ("right, seen", "right, left out", *OTHERS.values(), "diversity")
SHOWN = (1.0, 2.0, 5.0)  # scales in the pictures


def asked() -> dict[str, np.ndarray]:
    """The attributes of every example: each pair in turn, the rest of them drawn."""
    label = np.arange(len(shapes.CLASSES) * PER_PAIR) % len(shapes.CLASSES)
    shape, colour = np.divmod(label, len(shapes.COLOURS))
    drawn = shapes.attributes(np.arange(10_000_000, 10_000_000 + len(label)))
    other = drawn["background"]
    other = np.where(other == colour, (other + 1) % len(shapes.COLOURS), other)
    return {**drawn, "shape": shape, "colour": colour, "background": other}


def images_of(run: Opened, scale: float, captions: tuple[str, ...]) -> np.ndarray:
    """Images (n, ...) in [0, 1], one a caption."""
    generator = run.setup.task.generator
    options = dataclasses.replace(generator.options, ask=captions)
    guidance = dataclasses.replace(generator.guidance, scale=scale)
    told = dataclasses.replace(generator, options=options, guidance=guidance)
    generate, weights = jax.jit(told.generate), run.load().weights
    parts = np.arange(len(captions), dtype=np.int32).reshape(-1, 96)
    return np.concatenate([generate(weights, part) for part in parts])


def spread(images: np.ndarray, label: np.ndarray) -> float:
    """The mean over pairs of the mean distance of two images of the pair."""
    flat = images.reshape(len(images), -1)
    return float(np.mean([pdist(flat[label == c]).mean() for c in np.unique(label)]))


def measured(run: Opened, told: dict[str, np.ndarray]) -> tuple[dict[str, list], np.ndarray]:
    """({scale: numbers in the order of HEADS}, circles of every colour at the scales of SHOWN)."""
    label, captions = shapes.labels(told), shapes.captions(told)
    away = np.isin(np.array(shapes.CLASSES)[label], run.setup.data.without)
    size = run.setup.spec.shape[0]
    real = shapes.draw(np.arange(20_000), size) / 255
    unit = spread(real, shapes.labels(shapes.attributes(np.arange(20_000))))
    found, shown = {}, []
    for scale in SCALES:
        images = images_of(run, scale, captions)
        read, _ = shapes.oracle(255 * images)
        good = shapes.labels(read) == label
        shares = [good[~away].mean(), good[away].mean()]
        shares += [(read[key] == told[key]).mean() for key in OTHERS]
        found[f"{scale:g}"] = [round(float(v), 4) for v in (*shares, spread(images, label) / unit)]
        print(f"scale {scale:g}: {found[f'{scale:g}']}", flush=True)
        if scale in SHOWN:
            shown.append(images[: len(shapes.COLOURS)])
    return found, np.stack(shown)


def drawn(known: dict[str, dict[str, list]]) -> Figure:
    """Correctness and diversity against the scale, of all runs that were measured."""
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    left, beside = figure.subplots(1, 2)
    for number, (name, rows) in enumerate(known.items()):
        scales = [float(scale) for scale in rows]
        seen, unseen, *_, diverse = zip(*rows.values(), strict=True)
        left.plot(scales, seen, f"C{number}o-", label=f"{name}, seen")
        left.plot(scales, unseen, f"C{number}o--", label=f"{name}, left out")
        beside.plot(scales, diverse, f"C{number}o-", label=name)
    for axes, text in ((left, "colour and shape right"), (beside, "diversity, 1 for the data")):
        axes.set(xlabel="scale of guidance", ylabel=text)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    return figure


def main(given: Sequence[str]) -> None:
    parser = Parser(__doc__)
    folders = "of runs on shapes"
    parser.add_argument(
        "runs", nargs="*", type=Path, default=[Path("runs/shapes_text")], help=folders
    )
    roots = parser.parse_args(given).runs
    path = HERE / "curve.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    names = [f"scale {scale:g}" for scale in SHOWN]
    for root in roots:
        known[root.name], shown = measured(open_run(root), asked())
        files.write_json(path, known)
        picture = HERE / f"samples_{root.name}.png"
        plots.strip(shown, names, list(shapes.COLOURS), "circles", path=picture)
    print(f"| run | scale | {' | '.join(HEADS)} |\n{'|---' * (len(HEADS) + 2)}|")
    for name, rows in known.items():
        for scale, (*shares, diversity) in rows.items():
            cells = " | ".join(f"{share:.1%}" for share in shares)
            print(f"| {name} | {scale} | {cells} | {diversity:.2f} |")
    drawn(known).savefig(HERE / "curve.png", dpi=90)


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
