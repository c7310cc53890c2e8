"""Which sampler at which budget? Error against evaluations of the denoiser on a mixture.

python experiments/samplers/run.py

An example is 100 independent numbers from a mixture of three Gaussians whose denoiser, and whose
end of every path, is known exactly, so all error is the sampler's. It is the Wasserstein-1 distance
between 20,000 numbers and the exact quantiles. Start noises are the quantiles of the normal
distribution, so deterministic samplers show no sampling noise; the random ones scatter below 0.01.
Writes error.png and prints the tables.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import norm

from ddm_jax.answering import Parser, answered
from ddm_jax.diffusion.analytic import mixture
from ddm_jax.diffusion.arrays import expand
from ddm_jax.diffusion.process import Estimate
from ddm_jax.diffusion.samplers import SAMPLERS
from ddm_jax.diffusion.samplers.adaptive import Adaptive
from ddm_jax.diffusion.samplers.exponential import EXPONENTIAL, DPMpp2M, DPMpp3M, UniPC
from ddm_jax.diffusion.samplers.linear_multistep import LINEAR_MULTISTEP, AdamsBashforth
from ddm_jax.diffusion.samplers.loop import sample
from ddm_jax.diffusion.samplers.timesteps import LogSNRGrid
from ddm_jax.diffusion.schedules.continuous import VP

HERE = Path(__file__).parent
MEANS, STD, WEIGHTS = np.array([-1.0, 0.2, 0.9]), 0.08, np.array([0.25, 0.45, 0.3])
SHAPE, BUDGETS = (200, 100), (5, 10, 20, 50, 100, 200, 1000)
COUNT = SHAPE[0] * SHAPE[1]
SCHEDULE = VP()
ALL = {name: cls() for name, cls in SAMPLERS.items()}
ALL |= {"dpmpp_2m eta=1": DPMpp2M(1.0), "dpmpp_3m eta=1": DPMpp3M(1.0)}
ALL |= {"adams_bashforth order=4": AdamsBashforth(4), "unipc order=3": UniPC(3)}
X = np.linspace(-2, 2, 400_001)
CDF = sum(w * norm.cdf(X, m, STD) for w, m in zip(WEIGHTS, MEANS, strict=True))
LEVELS = (np.arange(COUNT) + 0.5) / COUNT
EXACT = np.interp(LEVELS, CDF, X)
NOISE = np.random.default_rng(0).permutation(norm.ppf(LEVELS)).reshape(SHAPE).astype(np.float32)


def denoiser(kind: str):
    """E[x_0 | x_t] of every number, or the end of its path: the number of the same quantile."""
    of_one = mixture(SCHEDULE, jnp.asarray(MEANS)[:, None], STD, WEIGHTS)
    quantiles, levels = jnp.asarray(EXACT, jnp.float32), jnp.asarray(LEVELS, jnp.float32)

    def mean(x, t, s=None):
        t = jnp.broadcast_to(expand(t, x), x.shape).reshape(-1)
        return Estimate(of_one(x.reshape(-1, 1), t).x0.reshape(x.shape))

    def end(x, t, s=None):
        alpha, sigma = expand(SCHEDULE.alpha(t), x), expand(SCHEDULE.sigma(t), x)
        deviation = jnp.sqrt(alpha**2 * STD**2 + sigma**2)
        parts = zip(WEIGHTS, MEANS, strict=True)
        level = sum(w * jax.scipy.stats.norm.cdf(x, alpha * m, deviation) for w, m in parts)
        return Estimate(jnp.interp(level, levels, quantiles))

    return {"mean": mean, "end": end}[kind]


def error(sampler, steps: int) -> float:
    times, denoise = LogSNRGrid().times(SCHEDULE, steps), denoiser(sampler.estimate)
    run = jax.jit(
        lambda x, times: sample(denoise, SCHEDULE, sampler, times, x=x, key=jax.random.key(0))
    )
    return float(np.abs(np.sort(np.asarray(run(NOISE, times)), axis=None) - EXACT).mean())


def errors(name: str, sampler) -> list[float]:
    """At each budget, with as many steps as it pays for."""
    print(f"{name}, at up to {max(BUDGETS):,} evaluations", file=sys.stderr, flush=True)
    return [error(sampler, (budget - 1) // sampler.evaluations + 1) for budget in BUDGETS]


def adaptive(tolerance: float) -> tuple[int, float]:
    """Evaluations, of the whole batch at once until its slowest example ends, and the error."""
    sampler, mean, calls = Adaptive(tolerance, tolerance), denoiser("mean"), []

    def counted(x, t, s=None):
        jax.debug.callback(lambda t: calls.append(1), t)
        return mean(x, t)

    times = LogSNRGrid().times(SCHEDULE, 2)
    run = jax.jit(lambda x: sample(counted, SCHEDULE, sampler, times, x=x, key=jax.random.key(0)))
    x = np.asarray(run(NOISE))
    jax.effects_barrier()
    return len(calls), float(np.abs(np.sort(x, axis=None) - EXACT).mean())


def family(name: str) -> str:
    if ALL[name].convergence is None:
        return "random"
    word = name.split()[0]
    groups = {"linear multistep": LINEAR_MULTISTEP, "exponential multistep": EXPONENTIAL}
    return next((group for group, rows in groups.items() if word in rows), "one step")


COLOURS = {
    "one step": "tab:red",
    "linear multistep": "tab:green",
    "exponential multistep": "tab:blue",
    "random": "tab:purple",
}
STYLES = ["-", "--", ":", "-."]


def slope(row: list[float]) -> float:
    return float(np.log(row[3] / row[2]) / np.log(BUDGETS[3] / BUDGETS[2]))


def draw(table: dict[str, list[float]], solved: list[tuple[int, float]]) -> None:
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    seen = dict.fromkeys(COLOURS, 0)
    random = ["tab:purple", "tab:orange", "tab:brown", "tab:cyan", "tab:olive", "tab:pink", "k"]
    for name, row in table.items():
        group = family(name)
        k, chance = seen[group], group == "random"
        seen[group] += 1
        panels[int(chance)].loglog(
            BUDGETS,
            row,
            marker="os^D"[k % 4],
            markersize=4,
            color=random[k] if chance else COLOURS[group],
            linestyle=STYLES[k % 4],
            label=f"{name}, {slope(row):.1f}",
        )
    panels[0].loglog(*zip(*solved, strict=True), "k*-", markersize=7, label="adaptive")
    for axes, title in zip(panels, ("deterministic", "random"), strict=True):
        axes.set(xlabel="evaluations", title=title, ylim=(2e-4, 2))
        axes.grid(which="major", alpha=0.4)
        axes.legend(
            title=f"slope from {BUDGETS[2]} to {BUDGETS[3]}",
            fontsize=8,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.12),
            ncols=2,
        )
    panels[0].set_ylabel("Wasserstein-1 distance")
    figure.savefig(HERE / "error.png", dpi=100)


def main(given: Sequence[str]) -> None:
    Parser(__doc__).parse_args(given)
    table = {name: errors(name, s) for name, s in ALL.items() if s.evaluations is not None}
    table = dict(sorted(table.items(), key=lambda item: item[1][2]))
    solved = [adaptive(10.0**-k) for k in range(2, 7)]
    draw(table, solved)
    print("| sampler | " + " | ".join(map(str, BUDGETS)) + " | slope |")
    print("|---" * (len(BUDGETS) + 2) + "|")
    for name, row in table.items():
        print(f"| {name} | " + " | ".join(f"{e:.4f}" for e in row) + f" | {slope(row):.1f} |")
    print("\n| adaptive, tolerance | evaluations | error |\n|---|---|---|")
    for k, (calls, found) in enumerate(solved):
        print(f"| 1e-{k + 2} | {calls} | {found:.4f} |")


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
