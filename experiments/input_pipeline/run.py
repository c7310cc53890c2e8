"""How many CIFAR-10 images a second does the cached input pipeline deliver on one host?

python experiments/input_pipeline/run.py --config.data.dir=<prepared TFDS data>

In turns, in one process: vectorised gathers from the memory-mapped cache (what training uses),
the same through the prefetch thread, and a Python loop over single examples for comparison.
"""

import statistics
import sys
import time
from pathlib import Path

import numpy as np

from ddm_jax.answering import answered
from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import data_options
from ddm_jax.data import sources
from ddm_jax.data.augments import Mirror
from ddm_jax.data.pipeline import Stretch, feed, prefetch

ROOT = Path(__file__).resolve().parents[2]
ROUNDS, BATCH, BATCHES = 5, 128, 400


def rate(work):
    began = time.perf_counter()
    work()
    return BATCH * BATCHES / (time.perf_counter() - began)


def main(overrides):
    config = load_config(str(ROOT / "configs/cifar_cosine.py"))
    data = sources.load(data_options(override(config, overrides)), print)

    def make(k):
        return feed(data, k, BATCH, 0, augment=Mirror(), by_index=False)

    def gather():
        for k in range(BATCHES):
            make(k)

    def ahead():
        for _ in prefetch(make, range(BATCHES)):
            pass

    def one_by_one():
        stretch = Stretch(data.spec.count, BATCH, 0)
        for k in range(BATCHES):
            np.stack([data.columns["x"][i] for i in stretch.indices(k)])

    ways = {"gather": gather, "gather, prefetched": ahead, "one by one": one_by_one}
    rates = {name: [] for name in ways}
    gather()
    for _ in range(ROUNDS):
        for name, work in ways.items():
            rates[name].append(rate(work))
    for name, values in rates.items():
        print(f"{name:20s} {statistics.median(values):12,.0f} images/s (median of {ROUNDS})")


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
