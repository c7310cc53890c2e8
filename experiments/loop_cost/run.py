"""What does the training loop cost over its compiled step?

python experiments/loop_cost/run.py --config.data.dir=<prepared TFDS data>

In turns, in one process, at the settings of configs/fashion_mnist.py and those given: the bare
compiled step on one batch that stays on the device, and the whole loop (data, prefetch, metrics,
logs). Both keep two steps in flight.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import jax

from ddm_jax.answering import answered
from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import data_options
from ddm_jax.data import sources
from ddm_jax.data.pipeline import feed
from ddm_jax.training import logs
from ddm_jax.training.base import Constants
from ddm_jax.training.layout import all_devices
from ddm_jax.verbs.previews import Preview
from ddm_jax.verbs.training import train

ROOT = Path(__file__).resolve().parents[2]
ROUNDS, STEPS = 5, 25


def bare(setup, data, layout, step, state):
    """(seconds a step, state) of the compiled step on a batch that is already there."""
    options = setup.train
    batch = layout.shard(
        feed(data, 0, options.batch, 0, augment=setup.task.augment, by_index=setup.data.on_device)
    )
    key = layout.replicate(setup.train_key())
    state, metrics = step(state, (batch,), Constants(None, {}), key)
    jax.block_until_ready(state)
    began = time.perf_counter()
    for _ in range(STEPS):
        state, new = step(state, (batch,), Constants(None, {}), key)
        jax.block_until_ready(metrics)
        metrics = new
    jax.block_until_ready(state)
    return (time.perf_counter() - began) / STEPS, state


def loop(setup, data, layout):
    """Seconds a step of the real loop, from its own log, the row with the compilation left out."""
    with tempfile.TemporaryDirectory() as folder:
        preview = Preview(setup, data, Path(folder), layout, {}, {})
        train(setup, data, Path(folder), layout, preview=preview)
        rows = logs.read(Path(folder) / "metrics.jsonl")
    return [setup.train.batch / row["images_per_s"] for row in rows[1:]]


def main(overrides):
    config = load_config(str(ROOT / "configs/fashion_mnist.py"))
    lengths = [
        f"--config.train.{name}={value}"
        for name, value in (("steps", 2 * STEPS), ("log_every", STEPS), ("sample_every", 0))
    ]
    config = override(
        config, [*lengths, "--config.sample.count=1", "--config.sample.steps=1", *overrides]
    )
    data = sources.load(data_options(config), print)
    setup = assemble(config, data.spec)
    layout = all_devices()
    step = setup.compiled_steps(layout)
    state = layout.replicate(setup.init_state())
    bares, loops = [], []
    for _ in range(ROUNDS):
        seconds, state = bare(setup, data, layout, step, state)
        bares.append(seconds)
        loops += loop(setup, data, layout)
        print(f"bare {bares[-1] * 1e3:.1f} ms, loop {loops[-1] * 1e3:.1f} ms a step", flush=True)
    ratio = statistics.median(loops) / statistics.median(bares)
    print(f"median of {ROUNDS}: loop / bare = {ratio:.4f} on {layout.describe()}")


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
