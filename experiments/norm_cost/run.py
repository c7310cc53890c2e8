"""What do norms cost, alone and between convolutions, by Flax's layers and by ours?

    python experiments/norm_cost/run.py

At sizes of this project's U-Nets, forward and with the gradient by weights and input: a norm and
swish, and BLOCKS times a norm, swish and a convolution of 3 x 3 in a row. Flax's GroupNorm takes
the moments of groups at once and its Conv sums a bias's gradient; `models.layers.GroupNorm` takes
moments of channels first, and all its sums over positions, like those of
`models.convolution.Convolution`, are products with ones. Both are compiled, their outputs and
gradients compared, and then they take turns; the shortest of REPEATS counts. Prints a table for
each in milliseconds.
"""

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from ddm_jax.answering import Parser, answered  # noqa: E402
from ddm_jax.models.convolution import Convolution  # noqa: E402
from ddm_jax.models.layers import GroupNorm, norm_groups  # noqa: E402

REPEATS, BLOCKS = 20, 3
SIZES = (
    (64, 8, 24),  # quickstart
    (32, 8, 48),  # shapes_text
    (32, 4, 96),
    (64, 14, 64),  # fashion_mnist
    (8, 32, 128),  # cifar_cosine, a small batch
    (8, 16, 256),
)


class Chain(nn.Module):
    """Norm and swish, `blocks` times with a convolution after them, or once alone (0).

    layers: (norm of so many groups, convolution to so many channels), each taking its name.
    """

    blocks: int
    layers: tuple[Callable[..., nn.Module], Callable[..., nn.Module]]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        norm, conv = self.layers
        channels = x.shape[-1]
        for k in range(max(self.blocks, 1)):
            x = nn.swish(norm(norm_groups(channels), name=f"norm{k}")(x))  # pyright: ignore
            if self.blocks:
                x = conv(channels, name=f"conv{k}")(x)  # pyright: ignore
        return x


FLAX = partial(nn.GroupNorm, epsilon=1e-6), partial(nn.Conv, kernel_size=(3, 3))
OURS = GroupNorm, Convolution


def programs(net: nn.Module, params: Any, x: jax.Array, dy: jax.Array) -> list[Callable]:
    """The network, and it with its gradient by the weights and by x."""

    def apply(params: Any, x: jax.Array) -> jax.Array:
        return net.apply(params, x)  # pyright: ignore

    def gradient(params: Any, x: jax.Array, dy: jax.Array) -> tuple:
        return jax.vjp(apply, params, x)[1](dy)

    forward, backward = jax.jit(apply), jax.jit(gradient)
    return [lambda: forward(params, x), lambda: backward(params, x, dy)]


def seconds(call: Callable) -> float:
    began = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - began


def table(blocks: int) -> None:
    print("| batch, size, channels | flax | ours | flax, gradient | ours, gradient |")
    print("|---|---|---|---|---|")
    rng = np.random.default_rng(0)
    for batch, size, channels in SIZES:
        x, dy = jnp.float32(rng.normal(size=(2, batch, size, size, channels)))
        nets = Chain(blocks, FLAX), Chain(blocks, OURS)
        params = nets[0].init(jax.random.key(0), x)
        flax, ours = (programs(net, params, x, dy) for net in nets)
        cells = []
        for one, other in zip(flax, ours, strict=True):
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-2), one(), other()
            )
            turns = np.array([(seconds(one), seconds(other)) for _ in range(REPEATS)])
            cells += [f"{1e3 * best:.2f}" for best in turns.min(0)]
        print(f"| {batch}, {size}, {channels} | {' | '.join(cells)} |", flush=True)


def main(given: Sequence[str]) -> None:
    Parser(__doc__).parse_args(given)
    for blocks in (0, BLOCKS):
        what = f"{blocks} times norm, swish and convolution" if blocks else "a norm and swish"
        print(f"\n{what}, milliseconds:\n")
        table(blocks)


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
