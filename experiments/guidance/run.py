"""How far does a classifier lead an unconditional model, and what does it cost?

    python launch.py --config configs/digits_classifier.py
    python launch.py --config configs/digits_guided.py
    python launch.py --config configs/quickstart.py --config.model.ddpm_unet.channels=64 \\
        "--config.model.ddpm_unet.attention=(4,)" --config.train.batch=128 \\
        --config.train.steps=500 --config.optim.lr=1e-3 --config.sample.steps=20
    python experiments/guidance/run.py [folder of the runs]

Draws 500 digits at each scale, ten classes in turn, by classifier guidance on the unconditional
model and classifier-free on the conditional one. A support vector machine on the training digits
reads them: agreement is the share that it reads as asked. Spread is the mean distance of two digits
of one class, by that of the training digits. Writes curve.png and samples.png and prints the table.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure
from scipy.spatial.distance import pdist
from sklearn.datasets import load_digits
from sklearn.svm import SVC

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from ddm_jax.answering import Parser, answered  # noqa: E402
from ddm_jax.figures import plots  # noqa: E402
from ddm_jax.verbs.opened import open_run  # noqa: E402

COUNT = 500
KINDS = {
    "classifier": ("digits_guided", (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)),
    "classifier_free": ("quickstart", (0.0, 1.0, 1.5, 2.0, 4.0, 8.0)),
}
SHOWN = (0.0, 1.0, 4.0, 16.0)  # scales of the classifier in samples.png


def spread(images: np.ndarray, labels: np.ndarray) -> float:
    """The mean over classes of the mean distance of two images of the class."""
    return float(np.mean([pdist(images[labels == c]).mean() for c in np.unique(labels)]))


def drawn(run, kind: str, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """(images (COUNT, 8, 8, 1) in [0, 1], what was asked for)."""
    generator = run.setup.task.generator
    guidance = dataclasses.replace(generator.guidance, scale=scale)
    generate = jax.jit(dataclasses.replace(generator, guidance=guidance).generate)
    weights = run.load().weights
    parts = np.arange(COUNT, dtype=np.int32).reshape(-1, 100)
    images = np.concatenate([generate(weights, part) for part in parts])
    return images, np.array([int(name) for name in generator.names(np.arange(COUNT))])


def main(given: Sequence[str]) -> None:
    parser = Parser(__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default="runs", help="of the runs")
    root = parser.parse_args(given).folder
    real, classes = load_digits(return_X_y=True)
    reader, unit = SVC(gamma=0.001, C=10).fit(real, classes), spread(real / 16, classes)
    judge = f"--config.guidance.classifier.run={root / 'digits_classifier'}"
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    rows = []
    print("| guidance | scale | read as asked | spread |\n|---|---|---|---|")
    for kind, (name, scales) in KINDS.items():
        run = open_run(root / name, [judge] if kind == "classifier" else [])
        found = []
        for scale in scales:
            images, asked = drawn(run, kind, scale)
            flat = images.reshape(COUNT, -1)
            agreement = float((reader.predict(np.rint(flat * 255) * 16 / 255) == asked).mean())
            found.append((agreement, spread(flat, asked) / unit))
            print(f"| {kind} | {scale:g} | {agreement:.1%} | {found[-1][1]:.2f} |", flush=True)
            if kind == "classifier" and scale in SHOWN:
                rows.append(images[:10])
        for axes, values in zip((left, right), zip(*found, strict=True), strict=True):
            axes.plot(scales, values, marker="o", label=kind)
    for axes, text in ((left, "read as asked"), (right, "spread, 1 for the data")):
        axes.set_xscale("symlog", linthresh=0.5)
        axes.set(xlabel="scale of guidance", ylabel=text)
        axes.grid(alpha=0.3)
    left.legend()
    figure.savefig(HERE / "curve.png", dpi=90)
    names = [f"scale {scale:g}" for scale in SHOWN]
    columns = [str(k) for k in range(10)]
    title = "no condition, led by a classifier"
    plots.strip(np.stack(rows), names, columns, title, path=HERE / "samples.png")


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
