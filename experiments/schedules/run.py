"""What do the schedules do? Rates, log-SNR, and one image noised along each.

python experiments/schedules/run.py

Writes rates.png and strip.png, and prints log-SNR at both ends and what is left of the signal.
"""

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_sample_image

from ddm_jax.answering import Parser, answered
from ddm_jax.data.columns import spec_of
from ddm_jax.diffusion.process import diffuse
from ddm_jax.diffusion.schedules import SCHEDULES
from ddm_jax.models.codecs import Pixels

HERE = Path(__file__).parent
T = jnp.linspace(0, 1, 501)
TIMES = np.linspace(0, 1, 9)


def rates() -> None:
    figure = Figure(figsize=(13, 4.5), layout="constrained")
    panels = figure.subplots(1, 3)
    titles = ("signal rate alpha(t)", "noise rate sigma(t), cut at 3", "log-SNR(t)")
    for axes, title in zip(panels, titles, strict=True):
        axes.set(title=title, xlabel="t (0: least noise, 1: most)")
        axes.grid(alpha=0.3)
    for i, (name, cls) in enumerate(SCHEDULES.items()):
        schedule, style = cls(), {"linestyle": "-" if i < 10 else "--", "linewidth": 1.2}
        panels[0].plot(T, schedule.alpha(T), **style)
        panels[1].plot(T, schedule.sigma(T), **style)
        panels[2].plot(T, schedule.logsnr(T), label=name, **style)
    panels[1].set_ylim(0, 3)
    panels[2].legend(fontsize=7, ncols=2)
    figure.savefig(HERE / "rates.png", dpi=90)


def strip() -> None:
    """Rows are schedules, columns times; each picture is divided by sqrt(alpha^2 + sigma^2)."""
    photograph = load_sample_image("flower.jpg")[20:404:6, 130:514:6]
    codec = Pixels(spec_of("photograph", {"x": photograph[None]}))
    x0 = codec.encode(photograph[None], {})
    eps = jax.random.normal(jax.random.key(0), x0.shape)
    figure = Figure(figsize=(11, 1.15 * len(SCHEDULES)), layout="constrained")
    panels = figure.subplots(len(SCHEDULES), len(TIMES))
    for row, (name, cls) in zip(panels, SCHEDULES.items(), strict=True):
        schedule = cls()
        for axes, t in zip(row, TIMES, strict=True):
            t = jnp.float32(t)
            power = jnp.sqrt(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2)
            x = codec.decode(diffuse(schedule, x0, eps, t)[0] / power, {})
            axes.imshow(x)
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, fontsize=7, rotation=0, ha="right", va="center")
    for axes, t in zip(panels[0], TIMES, strict=True):
        axes.set_title(f"t = {t:.3g}", fontsize=8)
    with io.BytesIO() as picture:
        figure.savefig(picture, dpi=55)
        Image.open(picture).convert("RGB").quantize(64).save(HERE / "strip.png", optimize=True)


def main(given: Sequence[str]) -> None:
    Parser(__doc__).parse_args(given)
    rates()
    strip()
    print("| schedule | log-SNR at t = 0 | at t = 1 | signal rate at t = 1 |\n|---|---|---|---|")
    for name, cls in SCHEDULES.items():
        first, last = map(float, cls().logsnr(jnp.array([0.0, 1.0])))
        share = float(jnp.sqrt(jax.nn.sigmoid(last)))
        print(f"| `{name}` | {first:.2f} | {last:.2f} | {share:.5f} |")


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
