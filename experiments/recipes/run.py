"""What do the same minutes of training buy, by one setting at a time?

    python experiments/recipes/run.py --minutes 5 --config.data.dir=<prepared TFDS data>

Each of RECIPES is configs/fashion_mnist.py with other settings, and has as many steps as the
minutes pay for at the shortest of its steps that are timed first, so that other work on the same
machine takes none from it. Its samples are measured by features that were learnt on photographs,
beside those of other real images, and for the dots that patches leave. `--only "muon;as it was"`
takes some of them, `--seed` other first weights, order and draws. What is trained and measured
already is not trained and measured again, and what was interrupted goes on. Prints the table.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from ddm_jax import verbs  # noqa: E402
from ddm_jax.answering import Parser, above_zero, answered  # noqa: E402
from ddm_jax.config.assemble import assemble  # noqa: E402
from ddm_jax.config.load import load_config, override  # noqa: E402
from ddm_jax.config.tables import data_options  # noqa: E402
from ddm_jax.data import sources  # noqa: E402
from ddm_jax.data.pipeline import feed  # noqa: E402
from ddm_jax.training.base import Constants  # noqa: E402
from ddm_jax.training.layout import all_devices  # noqa: E402
from ddm_jax.training.logs import read  # noqa: E402

CONFIG = str(ROOT / "configs/fashion_mnist.py")
START = (  # what all have, where a recipe does not say otherwise
    *("model.ddpm_unet.channels=64", "model.ddpm_unet.multipliers=(1,2)"),
    *("model.ddpm_unet.patch=2", "model.ddpm_unet.attention=(7,)", "model.ddpm_unet.blocks=1"),
    *("optim.name=adam", "optim.lr=1e-3", "optim.warmup=100", "train.batch=64"),
    *("average.ema.decay=0.998", "prediction.name=v", "schedule.name=cosine"),
)
MEASURE = (
    *("sampler.name=dpmpp_2m", "sample.evaluations=20", "guidance.name=none"),
    *("evaluate.metrics=frechet,kid,precision_recall", "evaluate.samples=1000"),
    *("features.name=efficientnet_lite0", "sample.batch=100"),
)
MUON = ("optim.name=muon", "optim.lr=2e-3")
NARROW = (
    *("model.ddpm_unet.patch=1", "model.ddpm_unet.channels=16"),
    "model.ddpm_unet.multipliers=(1,4,8)",
)
TRANSFORMER = (
    *("model.name=dit", "model.dit.channels=192", "model.dit.depth=6", "model.dit.heads=3"),
    *("model.dit.patch=4", "model.dit.position=rope", "model.dit.qk_norm=True"),
)
RECIPES: dict[str, tuple[str, ...]] = {
    "as it was": (),
    "muon": MUON,
    "muon, rate 5e-3": (*MUON, "optim.lr=5e-3"),
    "muon, narrow first level": (*MUON, *NARROW),
    "muon, narrow first level, rate 5e-3": (*MUON, *NARROW, "optim.lr=5e-3"),
    "transformer, muon, rate 5e-3": (*MUON, "optim.lr=5e-3", *TRANSFORMER),
}
COLUMNS = (
    *("recipe", "parameters", "steps", "ms a step", "FD", "KID", "precision", "recall"),
    "lattice",
)
TIMED = 12
COSTLY = ("optim.name", "train.batch")  # with the network, what a step's time depends on


def arguments(settings: Sequence[str]) -> list[str]:
    return [f"--config.{text}" for text in settings]


def cost(settings: Sequence[str]) -> tuple[float, int]:
    """(the shortest seconds of a step, parameters) of what is assembled of these settings."""
    config = override(load_config(CONFIG), arguments(settings))
    data = sources.load(data_options(config), print)
    setup, layout = assemble(config, data.spec), all_devices()
    step = setup.compiled_steps(layout)
    state = layout.replicate(setup.init_state())
    count = sum(leaf.size for leaf in jax.tree.leaves(setup.init_state().params))
    batch = layout.shard(
        feed(data, 0, setup.train.batch, 0, augment=setup.task.augment, by_index=False)
    )
    key, seconds = layout.replicate(setup.train_key()), []
    for _ in range(TIMED):
        began = time.perf_counter()
        state, metrics = step(state, (batch,), Constants(None, {}), key)
        jax.block_until_ready((state, metrics))
        seconds.append(time.perf_counter() - began)
    return min(seconds[2:]), count


def costs(root: Path, recipes: dict[str, tuple[str, ...]]) -> dict[str, dict[str, Any]]:
    """By name, the milliseconds of a step and the parameters; kept in costs.json.

    Recipes of one network, optimiser and batch are timed once.
    """
    file, found = root / "costs.json", {}
    known = json.loads(file.read_text()) if file.exists() else {}
    for name, settings in recipes.items():
        last = dict(text.split("=", 1) for text in settings)
        work = {k: v for k, v in last.items() if k.startswith("model.") or k in COSTLY}
        key = json.dumps(work, sort_keys=True)
        if key not in known:
            seconds, size = cost(settings)
            known[key] = {"ms": 1e3 * seconds, "size": size}
            root.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(known, indent=1))
        found[name] = known[key]
    return found


def trained(run: Path, settings: Sequence[str], steps: int) -> None:
    """Trains the run, unless it is done; where it is stopped, so is all."""
    lengths = (f"train.steps={steps}", "train.sample_every=0", "train.save_every=500")
    if not (run / "done.json").exists():
        code = verbs.train(CONFIG, run, arguments((*settings, *lengths)))
        if code:
            sys.exit(code)


def measured(run: Path) -> dict[str, Any]:
    """The numbers of the run's samples by their names, and the distance of other images."""
    results = run / "evaluation/results.jsonl"
    if not read(results):
        verbs.evaluate(run, arguments(MEASURE))
    numbers: dict[str, Any] = {}
    for row in read(results):
        numbers |= row["numbers"]
        if row["metric"] == "frechet":
            numbers |= {"name": row["name"], "floor": row["floor"]["numbers"]["frechet"]}
    files = sorted(run.glob("evaluation/samples_*/*.npz"))
    samples = [array for file in files for array in np.load(file).values() if array.ndim == 4]
    return {**numbers, "lattice": lattice(np.concatenate(samples))}


def lattice(x: np.ndarray) -> float:
    """Power of the waves of two pixels over that of slightly longer ones, x (n, even, even, C).

    What puts its pixels out in blocks of 2 x 2 that do not know of each other has more than images.
    """
    power = (abs(np.fft.fft2(x.astype(np.float64), axes=(1, 2))) ** 2).mean((0, 3))
    i, j = (size // 2 for size in power.shape)
    two = np.array([power[i, j], power[i, 0], power[0, j]])
    longer = [power[i - 2 : i, j - 2 : j], power[i - 2 : i, 0], power[0, j - 2 : j]]
    return float(two.mean() / np.mean([part.mean() for part in longer]))


def main(given: Sequence[str]) -> None:
    parser = Parser(__doc__)
    parser.add_argument("--minutes", type=above_zero, default=5.0, help="of training")
    parser.add_argument("--only", default="", help="names of recipes, with commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/recipes"))
    flags, more = parser.parse_known_args(given)
    names = [name.strip() for name in flags.only.split(";")] if flags.only else [*RECIPES]
    if unknown := [name for name in names if name not in RECIPES]:
        parser.error(f"{unknown[0]!r} is no recipe; take some of {'; '.join(RECIPES)}")
    config = override(load_config(CONFIG), more)
    shared = [text.removeprefix("--config.") for text in more]
    chosen = {name: (*START, *RECIPES[name], f"seed={flags.seed}", *shared) for name in names}
    folders = {name: name.replace(", ", "_").replace(" ", "_") for name in names}
    runs = {
        name: flags.runs / f"{flags.minutes:g}min_{folder}_{flags.seed}"
        for name, folder in folders.items()
    }
    rows = {}
    for name, found in costs(flags.runs, chosen).items():
        steps = max(1, round(60e3 * flags.minutes / found["ms"]))
        trained(runs[name], chosen[name], steps)
        rows[name] = {**found, "steps": steps, **measured(runs[name])}
        print(line(name, rows[name]), flush=True)
    print("\n".join([line(), "|" + "---|" * len(COLUMNS), *(line(*row) for row in rows.items())]))
    data = sources.load(data_options(config), print)
    real = data.columns["x"][:1000]
    print(f"other images: FD {next(iter(rows.values()))['floor']:.2f}, lattice {lattice(real):.2f}")


def line(name: str = "", row: dict[str, Any] | None = None) -> str:
    if row is None:
        return f"| {' | '.join(COLUMNS)} |"
    numbers = f"{row['frechet']:.2f} | {row['kid']:.4f} | {row['precision']:.3f}"
    return (
        f"| {name} | {row['size']:,} | {row['steps']:,} | {row['ms']:.0f} | {numbers} | "
        f"{row['recall']:.3f} | {row['lattice']:.2f} |"
    )


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
