"""What does guidance by text buy, and what does it cost?

    python launch.py --config configs/shapes_text.py
    python experiments/guidance_tradeoff/run.py [folders of runs on shapes]

At each scale a run draws every pair of colour and shape PER_PAIR times, asked for by captions with
a size, a place and a background. The exact oracle of the data reads colour and shape: right is the
share with both as asked, of pairs that were trained on and of those that were left out; size, place
and background are the shares of all images with these as asked. Diversity is the mean distance of
two images of one pair, by that of the data. Writes curve.png and samples.png and prints the table.
"""

import dataclasses
import sys
from pathlib import Path

import absl.logging
import jax
import numpy as np
from matplotlib.figure import Figure
from scipy.spatial.distance import pdist

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from ddm_jax.data import shapes  # noqa: E402
from ddm_jax.figures import plots  # noqa: E402
from ddm_jax.verbs.opened import Opened, open_run  # noqa: E402

PER_PAIR = 12
SCALES = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
OTHERS = {"size": "size", "position": "place", "background": "background"}  # and their titles
SHOWN = (1.0, 2.0, 5.0)  # scales in samples.png


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


def main(roots: list[Path]) -> None:
    absl.logging.set_verbosity(absl.logging.ERROR)
    told = asked()
    label, captions = shapes.labels(told), shapes.captions(told)
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    left, beside = figure.subplots(1, 2)
    heads = "scale", "right, seen", "right, left out", *OTHERS.values(), "diversity"
    print(f"| run | {' | '.join(heads)} |\n{'|---' * (len(heads) + 1)}|")
    rows = []
    for root in roots:
        run = open_run(root)
        away = np.isin(np.array(shapes.CLASSES)[label], run.setup.data.without)
        size = run.setup.spec.shape[0]
        real = shapes.draw(np.arange(20_000), size) / 255
        unit = spread(real, shapes.labels(shapes.attributes(np.arange(20_000))))
        found = []
        for scale in SCALES:
            images = images_of(run, scale, captions)
            read, _ = shapes.oracle(255 * images)
            good = shapes.labels(read) == label
            found.append((good[~away].mean(), good[away].mean(), spread(images, label) / unit))
            shares = (*found[-1][:2], *((read[key] == told[key]).mean() for key in OTHERS))
            cells = *(f"{share:.1%}" for share in shares), f"{found[-1][2]:.2f}"
            print(f"| {root.name} | {scale:g} | {' | '.join(cells)} |", flush=True)
            if root == roots[0] and scale in SHOWN:
                rows.append(images[: len(shapes.COLOURS)])
        seen, unseen, diverse = zip(*found, strict=True)
        left.plot(SCALES, seen, marker="o", label=f"{root.name}, seen")
        left.plot(SCALES, unseen, marker="o", linestyle="--", label=f"{root.name}, left out")
        beside.plot(SCALES, diverse, marker="o", label=root.name)
    for axes, text in ((left, "colour and shape right"), (beside, "diversity, 1 for the data")):
        axes.set(xlabel="scale of guidance", ylabel=text)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(HERE / "curve.png", dpi=90)
    names = [f"scale {scale:g}" for scale in SHOWN]
    plots.strip(np.stack(rows), names, list(shapes.COLOURS), "circles", path=HERE / "samples.png")


if __name__ == "__main__":
    main([Path(path) for path in sys.argv[1:] or ["runs/shapes_text"]])
