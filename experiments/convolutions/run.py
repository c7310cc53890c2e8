"""Whose convolutions are faster on this CPU, XLA's own or YNNPACK's?

    python experiments/convolutions/run.py

3 x 3 and 1 x 1 convolutions at sizes of this project's networks, float32: forward, the gradient by
the input and the gradient by the kernel, each compiled twice from the same function, with YNNPACK
and without. What they give is compared, then both take turns; the shortest of REPEATS counts.
Prints a table in milliseconds.
"""

import time
from collections.abc import Callable
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

REPEATS = 10
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


def convolution(x: Array, kernel: Array) -> Array:
    axes = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=axes)


def by_input(x: Array, kernel: Array, dy: Array) -> Array:
    return jax.vjp(lambda x: convolution(x, kernel), x)[1](dy)[0]


def by_kernel(x: Array, kernel: Array, dy: Array) -> Array:
    return jax.vjp(lambda kernel: convolution(x, kernel), kernel)[1](dy)[0]


def seconds(call: Callable[..., Array], *arrays: Array) -> float:
    began = time.perf_counter()
    jax.block_until_ready(call(*arrays))
    return time.perf_counter() - began


def turns(function: Callable[..., Array], *arrays: Array) -> tuple[float, float]:
    """The shortest time with YNNPACK and without, in milliseconds."""
    lowered = jax.jit(function).lower(*arrays)
    ynnpack, xla = (lowered.compile(compiler_options={OPTION: value}) for value in (WITH, ""))
    np.testing.assert_allclose(ynnpack(*arrays), xla(*arrays), rtol=1e-3, atol=1e-2)
    both = [[seconds(program, *arrays) for program in (ynnpack, xla)] for _ in range(REPEATS)]
    one, other = 1e3 * np.array(both).min(0)
    return float(one), float(other)


def main() -> None:
    whats = ("forward", "by input", "by kernel")
    names = (f"{what}, {whose}" for what, whose in product(whats, ("YNNPACK", "XLA")))
    print(f"| batch, size, channels, kernel | {' | '.join(names)} |")
    print("|---" * (1 + 2 * len(whats)) + "|")
    rng = np.random.default_rng(0)
    for batch, size, before, after, width in SIZES:
        x = jnp.float32(rng.normal(size=(batch, size, size, before)))
        kernel = jnp.float32(rng.normal(size=(width, width, before, after)) / (width * before**0.5))
        dy = jnp.float32(rng.normal(size=(batch, size, size, after)))
        times = (
            *turns(convolution, x, kernel),
            *turns(by_input, x, kernel, dy),
            *turns(by_kernel, x, kernel, dy),
        )
        cells = " | ".join(f"{ms:.1f}" for ms in times)
        print(f"| {batch}, {size}, {before} to {after}, {width} x {width} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
