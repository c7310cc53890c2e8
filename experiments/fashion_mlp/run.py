"""Why can the introductory MLP not denoise, and what mends it?

python experiments/fashion_mlp/run.py [--config.data.dir=<prepared TFDS data>]

Trains configs/fashion_mlp.py as published and its variant `x0` (below runs/; a finished run is used
as it is), writes the three-row figure of each, and noise_mse.png: the error of the noise estimate
at each level against what a layer of 512 can reach at best. Prints the figures of both.
"""

import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

import launch  # noqa: E402
from ddm_jax.answering import answered  # noqa: E402
from ddm_jax.data import sources  # noqa: E402
from ddm_jax.diffusion.process import diffuse  # noqa: E402
from ddm_jax.verbs.opened import open_run  # noqa: E402

LEVELS = (0, 50, 100, 150, 199)
COUNT = 1000  # test images a level


def noise_error(model, codec, params, images: jax.Array) -> jax.Array:
    """E (eps - eps_hat)^2 a pixel at each of the 200 levels, eps_hat what x0_hat implies."""
    x0, denoise = codec.encode(images, {}), model.denoiser(params, None)

    def at(level):
        t = level / 199
        eps = jax.random.normal(jax.random.fold_in(jax.random.key(0), level), x0.shape)
        x_t = diffuse(model.schedule, x0, eps, t)
        snr = jnp.exp(model.schedule.logsnr(t))
        return snr * jnp.square(denoise(x_t, t).x0 - x0).mean()

    return jax.lax.map(at, jnp.arange(200))


def three_rows(generator, weights, original: np.ndarray, title: str, path: Path) -> None:
    """An image on its way up to noise, a sample on its way down, and the estimates made of it."""
    times = np.linspace(1, 0, 200, dtype=np.float32)
    down = LEVELS[::-1]
    index, chosen = jnp.arange(1), 199 - np.array(down)
    start = generator.start(weights, index)
    x_t, x0 = generator.film(weights, index, start, index, times=times, chosen=chosen)
    t = jnp.asarray(LEVELS) / 199
    image = generator.codec.encode(jnp.asarray(original), {})
    eps = jax.random.normal(jax.random.key(1), image.shape)
    noised = diffuse(generator.model.schedule, jnp.broadcast_to(image, (5, *image.shape)), eps, t)
    up, down = ([f"t = {k}" for k in levels] for levels in (LEVELS, down))
    rows = (
        ("noised", ["original", *up], [image, *noised]),
        ("x_t", [*down, "sample"], [*x_t[0, chosen], x0[0, -1]]),
        ("x0_hat", [*down, "sample"], [*x0[0], x0[0, -1]]),
    )
    figure = Figure(figsize=(7.5, 4.4), layout="constrained")
    figure.suptitle(title)
    for panels, (name, labels, pictures) in zip(figure.subplots(3, 6), rows, strict=True):
        panels[0].set_ylabel(name)
        for axes, label, x in zip(panels, labels, pictures, strict=True):
            axes.imshow(generator.codec.decode(x, {})[..., 0], cmap="gray", vmin=0, vmax=1)
            axes.set_title(label, fontsize=9)
            axes.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=90)


def main(overrides: list[str]) -> int:
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.add_subplot(
        title="error of the noise estimate on test images",
        xlabel="level t of 200",
        ylabel="mean squared error a pixel",
    )
    for variant in ("published", "x0"):
        workdir = Path(f"runs/fashion_mlp_{variant}")
        config = f"configs/fashion_mlp.py:{variant}"
        if code := launch.main(["--config", config, "--workdir", str(workdir), *overrides]):
            return code
        run = open_run(workdir)
        weights, generator = run.load().weights, run.setup.task.generator
        model, codec = generator.model, generator.codec
        images = sources.load(replace(run.setup.data, split="test")).columns["x"][:COUNT]
        left = float(model.schedule.alpha(1.0) ** 2)
        title = f"fashion_mlp:{variant}, at t = 199 signal is {left:.2g} of the variance"
        three_rows(generator, weights, images[0], title, HERE / f"{variant}.png")
        measure = jax.jit(noise_error, static_argnums=(0, 1))
        error = measure(model, codec, weights.params, images)
        axes.plot(error, label=variant)
        shown = ", ".join(f"{error[k]:.3f}" for k in LEVELS)
        print(f"{variant}: signal at t = 199 {left:.4f}; noise MSE at {LEVELS}: {shown}")
    width = model.net.hidden[-1]
    bound = 1 - width / images[0].size
    axes.axhline(bound, linestyle="--", color="gray")
    axes.text(100, bound / 2, f"best of {width} dimensions: {bound:.3f}")
    axes.set_yscale("log")
    axes.legend()
    figure.savefig(HERE / "noise_mse.png", dpi=90)
    print(f"best that a layer of {width} can do for eps: {bound:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
