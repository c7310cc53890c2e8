"""Which convolutions are fast on this CPU: YNNPACK's, XLA's own, or products of matrices?

    python experiments/convolutions/run.py

3 x 3 and 1 x 1 convolutions at sizes of this project's networks, float32: forward, the gradient by
the input and the gradient by the kernel, each compiled twice from the same function, with YNNPACK
and without; without YNNPACK on few pixels, by XLA's loop and by `ddm_jax.models.convolution`, and
of what is enlarged to twice the size, copied first or with a kernel for each copy. Last, ROUNDS of
them in a loop of one program, by XLA's primitive and by `ddm_jax.models.primitive`. What they give
is compared, then both take turns; the shortest of REPEATS counts. Prints four tables in
milliseconds.
"""

import sys
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

sys.path.insert(0, str(Path(__file__).parents[2]))

from ddm_jax.answering import Parser, answered  # noqa: E402
from ddm_jax.models.convolution import convolution, enlarged  # noqa: E402
from ddm_jax.models.resampling import upsample  # noqa: E402

REPEATS = 10
ROUNDS = 2
OPTION = "xla_cpu_experimental_ynn_fusion_type"
WITH = "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"
SIZES = (  # batch, size, channels in and out, kernel
    (64, 8, 48, 48, 3),  # quickstart
    (64, 14, 64, 64, 3),  # fashion_mnist
    (64, 32, 32, 32, 3),  # fashion_latent:autoencoder
    (8, 32, 128, 128, 3),  # cifar_cosine, a small batch
    (8, 16, 512, 256, 3),
    (8, 16, 512, 256, 1),
)

UP = (  # sizes before
    (8, 16, 256, 256, 3),  # cifar_cosine, a small batch
    (64, 14, 64, 64, 3),  # fashion_mnist
    (64, 7, 128, 128, 3),
)
FEW = ((64, 2, 128, 128, 3), (64, 1, 128, 128, 3), (32, 2, 256, 256, 3))
LOOPED = SIZES[0], SIZES[1], SIZES[3]
Call = Callable[..., Array]


def by_xla(x: Array, kernel: Array) -> Array:
    axes = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=axes)


def by_ours(x: Array, kernel: Array) -> Array:
    return convolution(x, kernel, (1, 1), "SAME")


def by_copies(x: Array, kernel: Array) -> Array:
    return by_xla(upsample(x), kernel)


def by_kernels(x: Array, kernel: Array) -> Array:
    return enlarged(x, kernel)


def by_input(forward: Call) -> Call:
    return lambda x, kernel, dy: jax.vjp(lambda x: forward(x, kernel), x)[1](dy)[0]


def by_kernel(forward: Call) -> Call:
    return lambda x, kernel, dy: jax.vjp(lambda kernel: forward(x, kernel), kernel)[1](dy)[0]


def in_loop(of: Callable) -> Callable:
    """As `of`, the sum of ROUNDS in a loop of one program."""

    def looped(forward: Call) -> Call:
        def whole(*arrays: Array) -> Array:
            *rest, last = arrays

            def once(total: Array, scale: Array) -> tuple[Array, None]:
                return total + of(forward)(*rest, scale * last), None

            zeros = jnp.zeros_like(of(forward)(*arrays))
            return lax.scan(once, zeros, jnp.arange(1.0, 1 + ROUNDS))[0]

        return whole

    return looped


def compiled(function: Call, arrays: Sequence[Array], ynnpack: bool = False) -> Call:
    options = {OPTION: WITH if ynnpack else ""}
    return jax.jit(function).lower(*arrays).compile(compiler_options=options)


def seconds(call: Call, arrays: Sequence[Array]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(call(*arrays))
    return time.perf_counter() - began


def turns(one: Call, other: Call, arrays: Sequence[Array]) -> str:
    """The shortest time of each, in milliseconds, as two cells of a table."""
    np.testing.assert_allclose(one(*arrays), other(*arrays), rtol=1e-3, atol=1e-2)
    both = [[seconds(call, arrays) for call in (one, other)] for _ in range(REPEATS)]
    return " | ".join(f"{ms:.1f}" for ms in 1e3 * np.array(both).min(0))


def table(
    sizes: Sequence[tuple[int, ...]], names: tuple[str, str], both: Callable, grown: int = 1
) -> None:
    """both: (what it computes of a forward function, arrays) -> the two programs to compare.

    grown: how many times the size of an input that of an output is.
    """
    whats = {"forward": lambda forward: forward, "by input": by_input, "by kernel": by_kernel}
    heads = (f"{what}, {name}" for what, name in product(whats, names))
    print(f"| batch, size, channels, kernel | {' | '.join(heads)} |")
    print("|---" * (1 + 2 * len(whats)) + "|")
    rng = np.random.default_rng(0)
    for batch, size, before, after, width in sizes:
        x = jnp.float32(rng.normal(size=(batch, size, size, before)))
        kernel = jnp.float32(rng.normal(size=(width, width, before, after)) / (width * before**0.5))
        dy = jnp.float32(rng.normal(size=(batch, grown * size, grown * size, after)))
        cells = []
        for what, of in whats.items():
            arrays = (x, kernel) if what == "forward" else (x, kernel, dy)
            cells.append(turns(*both(of, arrays), arrays))
        name = f"{batch}, {size}, {before} to {after}, {width} x {width}"
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main(given: Sequence[str]) -> None:
    Parser(__doc__).parse_args(given)

    def kernels(of: Callable, arrays: Sequence[Array]) -> list[Call]:
        return [compiled(of(by_xla), arrays, ynnpack) for ynnpack in (True, False)]

    def either(*ways: Call) -> Callable:
        return lambda of, arrays: [compiled(of(way), arrays) for way in ways]

    table(SIZES, ("YNNPACK", "XLA"), kernels)
    print()
    table(FEW, ("loop", "product"), either(by_xla, by_ours))
    print()
    table(UP, ("copies", "kernels"), either(by_copies, by_kernels), grown=2)
    print()
    table(
        LOOPED, ("XLA's", "ours"), lambda of, arrays: either(by_xla, by_ours)(in_loop(of), arrays)
    )


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
