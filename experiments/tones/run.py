"""Do the tones that a model draws have the pitch that was asked for?

    python launch.py --config configs/tones.py
    python experiments/tones/run.py [folder of the run] [scales of guidance]

Draws 200 tones at each scale, the eleven notes in turn, and reads the pitch of each from its
spectrum (ddm_jax.data.tones.fundamental). Prints the share within 2 % of the note that was asked
for, and the median distance from it.
"""

import dataclasses
import sys
from pathlib import Path

import absl.logging
import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from ddm_jax.data import tones  # noqa: E402
from ddm_jax.verbs.opened import open_run  # noqa: E402

COUNT = 200
NEAR = 0.02
SCALES = (1.0, 1.5, 2.0, 3.0)


def distances(run, weights, scale: float, count: int = COUNT) -> np.ndarray:
    """|read / asked - 1| of the pitches of tones 0 to count - 1 of a run."""
    generator = run.setup.task.generator
    guidance = dataclasses.replace(generator.guidance, scale=scale)
    generate = jax.jit(dataclasses.replace(generator, guidance=guidance).generate)
    index = np.arange(count, dtype=np.int32)
    waves = np.asarray(generate(weights, index))[..., 0]
    asked = [tones.CLASSES.index(name) for name in generator.names(index)]
    read = tones.fundamental(waves, generator.spec.rate)
    return abs(read / tones.FREQUENCIES[asked] - 1)


def main(arguments: list[str]) -> None:
    absl.logging.set_verbosity(absl.logging.ERROR)
    folder, *scales = arguments or ["runs/tones"]
    run = open_run(Path(folder), [])
    weights = run.load().weights
    print("| scale | within 2 % | median distance |\n|---|---|---|")
    for scale in map(float, scales or SCALES):
        far = distances(run, weights, scale)
        print(f"| {scale:g} | {(far < NEAR).mean():.1%} | {np.median(far):.3%} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
