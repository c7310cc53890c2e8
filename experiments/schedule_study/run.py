"""Linear, cosine or offset cosine, eps or v: which, and at how many steps?

python launch.py --config experiments/schedule_study/config.py --workdir runs/schedule_study --sweep
python experiments/schedule_study/run.py [runs/schedule_study]

Reads the finished cells of the sweep. Writes loss.png, the squared error of x0_hat at each log-SNR
on test images, and samples.png, the same images at 5, 10, 20 and 50 steps; prints a table of the
Frechet distance between 500 samples and the test images in the space of their first 50 principal
components.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from scipy.linalg import sqrtm
from sklearn.decomposition import PCA

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from ddm_jax.answering import Parser, answered  # noqa: E402
from ddm_jax.data import sources  # noqa: E402
from ddm_jax.diffusion.process import diffuse  # noqa: E402
from ddm_jax.errors import UserError  # noqa: E402
from ddm_jax.figures import plots  # noqa: E402
from ddm_jax.verbs.opened import open_run  # noqa: E402

STEPS = (5, 10, 20, 50)
LOGSNR = np.linspace(6.0, -6.0, 25)
COUNT, SHOWN = 500, 4


def estimation_error(model, codec, params, images: jax.Array) -> jax.Array:
    """E (x0_hat - x_0)^2 a pixel at each of LOGSNR; nan outside the schedule's range."""
    x0, denoise = codec.encode(images, {}), model.denoiser(params, None)
    ends = model.schedule.logsnr(jnp.array([0.0, 1.0]))

    def at(logsnr):
        t = model.schedule.time(logsnr)
        x_t = diffuse(model.schedule, x0, jax.random.normal(jax.random.key(0), x0.shape), t)
        error = jnp.square(denoise(x_t, t).x0 - x0).mean()
        return jnp.where((logsnr <= ends[0]) & (logsnr >= ends[1]), error, jnp.nan)

    return jax.lax.map(at, jnp.asarray(LOGSNR, jnp.float32))


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of features (n, d)."""
    (mean_a, cov_a), (mean_b, cov_b) = ((x.mean(0), np.cov(x.T)) for x in (a, b))
    root = sqrtm(cov_a @ cov_b).real
    return float(np.square(mean_a - mean_b).sum() + np.trace(cov_a + cov_b - 2 * root))


def draw(generator, weights, steps: int) -> np.ndarray:
    """COUNT samples in [0, 1], of `steps` evaluations each."""
    options = dataclasses.replace(generator.options, steps=steps)
    generate = jax.jit(dataclasses.replace(generator, options=options).generate)
    parts = np.arange(COUNT, dtype=np.int32).reshape(-1, 250)
    return np.concatenate([generate(weights, part) for part in parts])


def main(given: Sequence[str]) -> None:
    parser = Parser(__doc__)
    parser.add_argument(
        "sweep", nargs="?", type=Path, default="runs/schedule_study", help="its folder"
    )
    root = parser.parse_args(given).sweep
    cells = sorted(p.parent for p in root.glob("*/config.json"))
    if not cells:
        raise UserError(f"no cells in {root}; run the sweep first, its command stands in this file")
    first = open_run(cells[0]).setup
    train = sources.load(first.data).columns["x"][:10_000]
    test = sources.load(dataclasses.replace(first.data, split="test")).columns["x"]
    features = PCA(50, random_state=0).fit(train.reshape(len(train), -1) / 255)

    def project(x):
        return features.transform(np.asarray(x, float).reshape(len(x), -1))

    reference = project(test / 255)
    floor = frechet(project(train[:COUNT] / 255), reference)
    print(f"{COUNT} training images against the test images: {floor:.2f}")
    print("| schedule | prediction | " + " | ".join(f"{n} steps" for n in STEPS) + " |")
    print("|---|---|" + "---|" * len(STEPS))
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axes = figure.add_subplot(
        title="error of the estimate on test images",
        xlabel="log-SNR (left: little noise)",
        ylabel="mean squared error of x0_hat a pixel",
        yscale="log",
    )
    axes.grid(which="both", alpha=0.3)
    rows, names = [], []
    for cell in cells:
        run = open_run(cell)
        weights, generator = run.load().weights, run.setup.task.generator
        model, codec = generator.model, generator.codec
        schedule, prediction = (type(part).__name__ for part in (model.schedule, model.prediction))
        measure = jax.jit(estimation_error, static_argnums=(0, 1))
        error = measure(model, codec, weights.params, test[:500])
        style = "-" if prediction == "V" else "--"
        axes.plot(LOGSNR, error, style, label=f"{schedule}, {prediction}")
        drawn = [draw(generator, weights, n) for n in STEPS]
        scores = " | ".join(f"{frechet(project(x), reference):.2f}" for x in drawn)
        print(f"| {schedule} | {prediction} | {scores} |", flush=True)
        rows.append(np.concatenate([x[:SHOWN] for x in drawn]))
        names.append(f"{schedule}\n{prediction}")
    axes.invert_xaxis()
    axes.legend()
    figure.savefig(HERE / "loss.png", dpi=90)
    columns = [f"{n} steps" if k == 0 else "" for n in STEPS for k in range(SHOWN)]
    plots.strip(
        np.stack(rows), names, columns, "the same noise in every row", path=HERE / "samples.png"
    )


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
