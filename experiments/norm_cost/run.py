"""What does a norm cost, taken group by group or channel by channel first?

    python experiments/norm_cost/run.py

GroupNorm and swish, forward and with their gradient, at sizes of this project's U-Nets: Flax's
norm, whose moments are those of groups at once, and `models.layers.GroupNorm`, whose moments are of
channels first. Both are compiled, their outputs and gradients compared, and then they take turns;
the shortest of REPEATS counts. Prints a table in milliseconds.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from ddm_jax.answering import Parser, answered  # noqa: E402
from ddm_jax.models.layers import GroupNorm, norm_groups  # noqa: E402

REPEATS = 20
SIZES = (
    (64, 8, 24),  # quickstart
    (32, 8, 48),  # shapes_text
    (32, 4, 96),
    (64, 14, 64),  # fashion_mnist
    (8, 32, 128),  # cifar_cosine, a small batch
    (8, 16, 256),
)


def programs(norm: nn.Module, params: dict, x: jax.Array, dy: jax.Array) -> list[Callable]:
    """Norm and swish, and their gradient by the weights and by x."""

    def apply(params: dict, x: jax.Array) -> jax.Array:
        out: jax.Array = norm.apply(params, x)  # pyright: ignore
        return nn.swish(out)

    def gradient(params: dict, x: jax.Array, dy: jax.Array) -> tuple:
        return jax.vjp(apply, params, x)[1](dy)

    forward, backward = jax.jit(apply), jax.jit(gradient)
    return [lambda: forward(params, x), lambda: backward(params, x, dy)]


def seconds(call: Callable) -> float:
    began = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - began


def main(given: Sequence[str]) -> None:
    Parser(__doc__).parse_args(given)
    print("| batch, size, channels | flax | channels first | flax, gradient | channels first |")
    print("|---|---|---|---|---|")
    rng = np.random.default_rng(0)
    for batch, size, channels in SIZES:
        x, dy = jnp.float32(rng.normal(size=(2, batch, size, size, channels)))
        groups = norm_groups(channels)
        norms = nn.GroupNorm(groups, epsilon=1e-6), GroupNorm(groups)
        params = norms[0].init(jax.random.key(0), x)
        flax, ours = (programs(norm, params, x, dy) for norm in norms)
        cells = []
        for one, other in zip(flax, ours, strict=True):
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), one(), other()
            )
            turns = np.array([(seconds(one), seconds(other)) for _ in range(REPEATS)])
            cells += [f"{1e3 * best:.2f}" for best in turns.min(0)]
        print(f"| {batch}, {size}, {channels} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
