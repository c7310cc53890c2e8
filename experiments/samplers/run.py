"""Which sampler at which budget? Error against network evaluations on a mixture.

python experiments/samplers/run.py

The data are a one-dimensional mixture of three Gaussians whose denoiser is known exactly, so all
error is the sampler's. It is the Wasserstein-1 distance between 20,000 samples and the exact
quantiles. Start noises are the quantiles of the normal distribution, so deterministic samplers show
no sampling noise; the random ones scatter below 0.01. Writes error.png and prints the table.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import norm

from ddm_jax.diffusion.analytic import mixture
from ddm_jax.diffusion.continuous import VP
from ddm_jax.diffusion.samplers import SAMPLERS, sample
from ddm_jax.diffusion.solvers import DPMpp2M, DPMpp3M
from ddm_jax.diffusion.times import LogSNRGrid

HERE = Path(__file__).parent
MEANS, STD, WEIGHTS = np.array([-1.0, 0.2, 0.9]), 0.08, np.array([0.25, 0.45, 0.3])
COUNT, BUDGETS = 20_000, (5, 9, 21, 51, 101, 201, 1001)
TWICE = ("heun", "midpoint")  # evaluations a step
ALL = {name: cls() for name, cls in SAMPLERS.items()}
ALL |= {"dpmpp_2m eta=1": DPMpp2M(1.0), "dpmpp_3m eta=1": DPMpp3M(1.0)}


def quantiles() -> np.ndarray:
    """The data's quantiles at the middle of COUNT equal parts."""
    x = np.linspace(-2, 2, 400_001)
    cdf = sum(w * norm.cdf(x, m, STD) for w, m in zip(WEIGHTS, MEANS, strict=True))
    return np.interp((np.arange(COUNT) + 0.5) / COUNT, cdf, x)


def errors(name: str, exact: np.ndarray) -> list[float]:
    schedule = VP()
    denoise = mixture(schedule, jnp.asarray(MEANS)[:, None], STD, WEIGHTS)
    noise = jnp.asarray(norm.ppf((np.arange(COUNT) + 0.5) / COUNT), jnp.float32)[:, None]
    found = []
    for budget in BUDGETS:
        steps = (budget + 1) // 2 if name in TWICE else budget
        times = LogSNRGrid().times(schedule, steps)
        run = jax.jit(
            lambda x, times: sample(  # noqa: B023
                denoise, schedule, ALL[name], times, x, jax.random.key(0)
            )
        )
        found.append(float(np.abs(np.sort(np.asarray(run(noise, times))[:, 0]) - exact).mean()))
    return found


def main() -> None:
    exact = quantiles()
    table = {name: errors(name, exact) for name in ALL}
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.add_subplot(
        xlabel="network evaluations",
        ylabel="Wasserstein-1 distance",
        title="Samplers on a mixture with its exact denoiser",
    )
    lines = [
        "| sampler | " + " | ".join(map(str, BUDGETS)) + " | slope |",
        "|---" * (len(BUDGETS) + 2) + "|",
    ]
    for i, (name, row) in enumerate(sorted(table.items(), key=lambda item: item[1][2])):
        slope = np.log(row[3] / row[2]) / np.log(BUDGETS[3] / BUDGETS[2])
        axes.loglog(
            BUDGETS,
            row,
            marker="o",
            markersize=4,
            linestyle="-" if i < 10 else "--",
            label=f"{name}, {slope:.1f}",
        )
        lines.append(f"| {name} | " + " | ".join(f"{e:.4f}" for e in row) + f" | {slope:.1f} |")
    axes.grid(which="both", alpha=0.3)
    axes.legend(title=f"slope from {BUDGETS[2]} to {BUDGETS[3]}", fontsize=8)
    figure.savefig(HERE / "error.png", dpi=100)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
