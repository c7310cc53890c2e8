"""What does each way to few evaluations buy for the same training?

    python experiments/few_step/run.py [folder of the runs]

A teacher learns the velocity of points on a checkerboard in 4,000 steps. Every student begins with
its weights and has 4,000 steps more: of the teacher's own loss, of progressive distillation (four
stages of 1,000), of consistency without a teacher and with one, in steps and in continuous time, of
a mean flow with the factor 1 / (E + 0.001) of its paper and without it, of the improved one, of
shortcuts, and of the teacher's own pairs of noise and sample (reflow). Each is sampled with 1, 2, 4
and 8 evaluations of its network, 5,000 points at a time, whose sliced Wasserstein distance from
10,000 points of the data stands beside that of 5,000 other points. What is trained already is not
trained again. Writes samples.png and prints the table and the straightness of the paths of teacher
and reflow.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from ddm_jax import verbs  # noqa: E402
from ddm_jax.answering import Parser, answered  # noqa: E402
from ddm_jax.data.dataset import DataOptions  # noqa: E402
from ddm_jax.data.sources import load  # noqa: E402
from ddm_jax.evaluation.sets import SET_METRICS  # noqa: E402
from ddm_jax.evaluation.sets.base import FeatureSet  # noqa: E402
from ddm_jax.verbs.opened import open_run  # noqa: E402

CONFIG = str(HERE.parents[1] / "configs/toy.py:checkerboard")
EVALUATIONS = (1, 2, 4, 8)
STEPS, SAMPLES, PAIRS = 4000, 5000, 20_000
SHARED = (
    *("model.name=mlp", "model.mlp.hidden=(256,256,256)", "schedule.name=flow"),
    *("prediction.name=velocity", "noise_cond.name=time", "timesteps.name=trailing"),
    *("optim.lr=1e-3", "sampler.name=ddim", "sample.film=0", "train.log_every=500"),
    *(f"sample.count={SAMPLES}", f"sample.batch={SAMPLES}"),
    "sample.clip=none",
)
CONTINUOUS = "continuous_distillation"
PATHS = ("teacher", "teacher, twice as long", "reflow")  # whose straightness is told
METRIC = SET_METRICS["sliced_wasserstein"]


def trained(root: Path, name: str, *settings: str, steps: int = STEPS) -> Path:
    """The run `name`, trained for some steps unless it is there."""
    run = root / name
    if not (run / "done.json").exists():
        begun = time.process_time()
        chosen = (*SHARED, *settings, f"train.steps={steps}", f"train.save_every={steps}")
        verbs.train(CONFIG, run, [f"--config.{setting}" for setting in chosen])
        (run / "cost.txt").write_text(str(time.process_time() - begun))
    return run


def students(root: Path, teacher: Path) -> dict[str, dict[int, Path]]:
    """By name, the run that is sampled with so many evaluations."""
    start, taught = f"init.run={teacher}", f"teacher.run={teacher}"
    consistent = "sampler.name=consistency"
    found = {"teacher, twice as long": trained(root, "longer", start)}
    before, stages = teacher, {}
    for count in reversed(EVALUATIONS):
        settings = (f"init.run={before}", f"teacher.run={before}", "objective.name=progressive")
        before = trained(
            root,
            f"progressive_{count}",
            *settings,
            f"objective.progressive.steps={count}",
            steps=STEPS // len(EVALUATIONS),
        )
        stages[count] = before
    tuned = ("objective.consistency.first=1", f"objective.consistency.every={STEPS // 8}")
    found["consistency"] = trained(
        root, "consistency", start, consistent, "objective.name=consistency", *tuned
    )
    named = "objective.name=consistency_distillation"
    found["consistency distillation"] = trained(root, "distilled", start, taught, consistent, named)
    for name, loans in (("continuous_consistency", (start,)), (CONTINUOUS, (start, taught))):
        settings = (f"objective.name={name}", f"objective.{name}.warmup={STEPS // 4}")
        found[name.replace("_", " ")] = trained(root, name, *loans, consistent, *settings)
    jumps = "objective.name=mean_flow", "objective.mean_flow.apart=0.5"
    found["mean flow"] = trained(root, "mean_flow", start, *jumps)
    plain = "objective.mean_flow.power=0.0"
    found["mean flow, `power=0`"] = trained(root, "mean_flow_plain", start, *jumps, plain)
    better = "objective.improved_mean_flow.apart=0.5", "objective.improved_mean_flow.power=0.0"
    found["improved mean flow, `power=0`"] = trained(
        root, "improved_mean_flow", start, "objective.name=improved_mean_flow", *better
    )
    jumps = "objective.name=shortcut", "objective.shortcut.apart=0.5"
    found["shortcut"] = trained(root, "shortcut", start, *jumps)
    found["reflow"] = trained(root, "reflow", start, f"data.name=pairs:{encoded(teacher)}")
    runs = {name: dict.fromkeys(EVALUATIONS, run) for name, run in found.items()}
    first = dict.fromkeys(EVALUATIONS, teacher)
    return {"teacher": first, "progressive distillation": stages, **runs}


def encoded(teacher: Path) -> Path:
    """The teacher, which has its pairs."""
    settings = ("sampler.name=heun", "sample.steps=30", f"sample.count={PAIRS}")
    verbs.encode(teacher, [f"--config.{setting}" for setting in settings])
    return teacher


def drawn(run: Path, count: int) -> np.ndarray:
    """Points (SAMPLES, 2), of `count` evaluations."""
    opened = open_run(run, [f"--config.sample.steps={count}"])
    generate = jax.jit(opened.setup.task.generator.generate)
    points = generate(opened.load().weights, np.arange(SAMPLES))
    return np.asarray(points).reshape(SAMPLES, 2)


def straightness(run: Path) -> float:
    """The mean length of paths of 64 steps over that of how far they lead: 1 of straight ones."""
    opened = open_run(run, ["--config.sample.steps=64"])
    generator, weights = opened.setup.task.generator, opened.load().weights
    index = np.arange(2000)
    times = np.asarray(generator.times(weights))
    chosen = np.array([len(times) - 1])
    asked = generator.asked(index)
    film = jax.jit(
        lambda weights: generator.film(weights, index, asked, times=times, chosen=chosen)
    )
    path, end = film(weights)
    path = np.concatenate([path, end], 1).reshape(len(index), len(times) + 1, -1)
    length = np.linalg.norm(np.diff(path, axis=1), axis=-1).sum(1)
    return float(length.mean() / np.linalg.norm(path[:, -1] - path[:, 0], axis=-1).mean())


def main(given: Sequence[str]) -> None:
    parser = Parser(__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default="runs/few_step", help="of the runs")
    root = parser.parse_args(given).folder
    root.mkdir(parents=True, exist_ok=True)
    teacher = trained(root, "teacher")
    runs = students(root, teacher)
    data = load(DataOptions("checkerboard", count=2 * SAMPLES + SAMPLES)).columns["x"]
    data = data.reshape(-1, 2)
    reference, other = FeatureSet(data[: 2 * SAMPLES]), FeatureSet(data[2 * SAMPLES :])

    def distance(points: np.ndarray) -> float:
        return next(iter(METRIC.compare(FeatureSet(points), reference, 0).values()))

    floor = distance(other.features)
    figure = Figure(figsize=(1.7 * len(EVALUATIONS) + 1, 1.7 * len(runs)), layout="constrained")
    axes = figure.subplots(len(runs), len(EVALUATIONS), sharex=True, sharey=True)
    print(f"distance of other data: {floor:.4f}\n")
    print(f"| student | {' | '.join(map(str, EVALUATIONS))} | CPU s |")
    print("|---" * (len(EVALUATIONS) + 2) + "|")
    for row, (name, by_count) in zip(axes, runs.items(), strict=True):
        found = []
        for place, (count, run) in zip(row, sorted(by_count.items()), strict=True):
            points = drawn(run, count)
            found.append(distance(points))
            place.scatter(*points.T, s=0.3, linewidths=0)
            place.set(xticks=[], yticks=[], xlim=(-2.4, 2.4), ylim=(-2.4, 2.4), aspect="equal")
            place.set_title(f"{count}: {found[-1]:.3f}", fontsize=8)
        row[0].set_ylabel(name.replace("`", "").replace(" ", "\n", 1), fontsize=8)
        spent = sum(float((run / "cost.txt").read_text()) for run in {*by_count.values()})
        print(f"| {name} | {' | '.join(f'{d:.4f}' for d in found)} | {spent:.0f} |", flush=True)
    figure.savefig(HERE / "samples.png", dpi=90)
    lengths = {name: straightness(runs[name][1]) for name in PATHS}
    print("\nlength of the paths over the distance that they lead:", end=" ")
    print(", ".join(f"{name} {length:.3f}" for name, length in lengths.items()))


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
