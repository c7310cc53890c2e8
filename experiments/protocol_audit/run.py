"""How far does a distance move when only the protocol of measuring it does?

    pip install -e ".[features]"
    python experiments/protocol_audit/run.py --dir <prepared TFDS data>

The samples are as good as any model could draw them: test images of CIFAR-10, with the noise of one
level of their bytes, since what a model draws is no whole number. They are brought to bytes by each
of RULES, to the network's size by each of RESIZERS, kept as files of each of FORMATS, and compared
with references of both splits, one change at a time. Prints the table, the first row being what
`--mode evaluate` does, and writes moved.png.
"""

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from ddm_jax.answering import Parser, answered, count  # noqa: E402
from ddm_jax.data import sources  # noqa: E402
from ddm_jax.data.cache import cache_folder  # noqa: E402
from ddm_jax.data.dataset import DataOptions, Spec  # noqa: E402
from ddm_jax.evaluation.sets import SET_METRICS  # noqa: E402
from ddm_jax.evaluation.sets.base import FeatureSet  # noqa: E402
from ddm_jax.models.features import FEATURES  # noqa: E402
from ddm_jax.models.features.resizing import between_corners, smooth  # noqa: E402

SIZE, BATCH = 128, 50
Pictures = np.ndarray  # (n, height, width, channels)

# From [0, 1] to bytes.
RULES: Mapping[str, Callable[[Pictures], Pictures]] = {
    "round(255 x)": lambda x: np.rint(255 * x),
    "floor(255 x)": lambda x: np.floor(255 * x),
    "floor(127.5 (2 x - 1) + 128)": lambda x: np.floor(np.clip(127.5 * (2 * x - 1) + 128, 0, 255)),
}


def nearest(x: jax.Array, size: int) -> jax.Array:
    return jax.image.resize(x, (len(x), size, size, x.shape[-1]), "nearest")


RESIZERS: Mapping[str, Callable[[jax.Array, int], jax.Array]] = {
    "linear, as the network was trained": smooth,
    "linear between corners": between_corners,
    "nearest": nearest,
}


def jpeg(quality: int) -> Callable[[Pictures], Pictures]:
    """What a JPEG of bytes (n, height, width, 3) gives back."""

    def kept(values: Pictures) -> Pictures:
        rows = []
        for image in values.astype(np.uint8):
            file = io.BytesIO()
            Image.fromarray(image).save(file, "JPEG", quality=quality)
            rows.append(np.asarray(Image.open(file)))
        return np.stack(rows).astype(np.float64)

    return kept


FORMATS: Mapping[str, Callable[[Pictures], Pictures]] = {
    "PNG": lambda values: values,
    "JPEG, quality 95": jpeg(95),
    "JPEG, quality 75": jpeg(75),
}


def looker(spec: Spec) -> Callable[[Pictures, str], FeatureSet]:
    """look(bytes, resizer) -> their features."""
    row = FEATURES["efficientnet_lite0"](spec, SIZE)
    params, _ = row.load(cache_folder(), print)

    @jax.jit
    def see(x: jax.Array) -> jax.Array:
        return row.see(params, x, {}).features

    def look(values: Pictures, resizer: str) -> FeatureSet:
        parts = range(0, len(values), BATCH)
        resized = (
            RESIZERS[resizer](jnp.asarray(values[k : k + BATCH], jnp.float32), SIZE) for k in parts
        )
        return FeatureSet(np.concatenate([see(part) for part in resized]))

    return look


def main(given: Sequence[str]) -> None:
    parser = Parser(__doc__)
    parser.add_argument("--dir", required=True, help="where TFDS keeps prepared data")
    parser.add_argument("--count", type=count, default=2000, help="samples, and of a reference")
    flags = parser.parse_args(given)
    data = {
        split: sources.load(DataOptions("tfds:cifar10", split, flags.dir), print)
        for split in ("train", "test")
    }
    order = np.random.default_rng(0)
    places = {split: order.permutation(set_.spec.count) for split, set_ in data.items()}
    values = {split: set_.columns["x"][places[split]] for split, set_ in data.items()}
    look = looker(data["train"].spec)
    usual = next(iter(RESIZERS))
    references = {
        "train": look(values["train"][: flags.count], usual),
        "test": look(values["test"][flags.count : 2 * flags.count], usual),
    }
    samples = values["test"][: flags.count] / 255
    samples = np.clip(samples + np.random.default_rng(1).normal(0, 1 / 255, samples.shape), 0, 1)
    first = {"bytes": "round(255 x)", "resizer": usual, "file": "PNG", "reference": "train"}
    choices = {"bytes": RULES, "resizer": RESIZERS, "file": FORMATS, "reference": references}
    protocols = [first] + [
        {**first, key: choice}
        for key, table in choices.items()
        for choice in table
        if choice != first[key]
    ]
    bars: dict[str, float] = {}
    print("| what is changed | FD | KID |\n|---|---|---|")
    for protocol in protocols:
        shown = FORMATS[protocol["file"]](RULES[protocol["bytes"]](samples))
        seen = look(shown, protocol["resizer"])
        found = {
            name: SET_METRICS[name].compare(seen, references[protocol["reference"]], 0)
            for name in ("frechet", "kid")
        }
        changed = [f"{key}: {protocol[key]}" for key in first if protocol[key] != first[key]]
        name = changed[0] if changed else "nothing"
        bars[name] = found["frechet"]["frechet"]
        kid = found["kid"]
        print(
            f"| {name} | {bars[name]:.3f} | {kid['kid']:.5f} +- {kid['deviation']:.5f} |",
            flush=True,
        )
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(bars), list(bars.values()), color=["C1"] + ["C0"] * (len(bars) - 1))
    axes.axvline(bars["nothing"], color="C1", linestyle=":")
    axes.invert_yaxis()
    axes.set_xlabel(f"FD, {flags.count:,} samples, EfficientNet-Lite0 at {SIZE} x {SIZE}")
    figure.savefig(HERE / "moved.png", dpi=90)


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
