"""Pods of TPUs that are not at hand: a step compiled for one, and what the chips allow at best.

XLA's compiler for TPUs works on any machine where libtpu is installed. Williams et al. 2009 (the
roofline), 10.1145/1498765.1498785; figures of chips: Google Cloud's pages of v5e, v5p and v6e.
"""

import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jax.errors import JaxRuntimeError
from jax.experimental.topologies import get_topology_desc

from ddm_jax.errors import UserError
from ddm_jax.training.layout import Layout

# Shapes of slices, whose product is their number of chips.
FLAT = ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
DEEP = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16")
# What libtpu asks the machine that it is on, which need not be one of a pod.
MACHINE = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5p-8",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
# Of the bytes of a result, how many are sent by each of n chips in a ring.
SHARES: dict[str, Callable[[int], float]] = {
    "all-reduce": lambda n: 2 * (n - 1) / n,
    "all-gather": lambda n: (n - 1) / n,
    "all-to-all": lambda n: (n - 1) / n,
    "reduce-scatter": lambda n: n - 1,
    "collective-permute": lambda _: 1,
}
LATER = re.compile(r'"flag_start":"\d')  # how the compiler marks the second kernel, and others


@dataclass(frozen=True)
class Chip:
    """What a chip does in a second, and what it holds.

    flops: of products of bfloat16, which those of float32 are made of on a TPU. memory: bytes.
    bandwidth: of the memory, bytes/s. links: bytes/s that it sends over all of its links. shapes:
    of slices. cores: of a chip, as the name of a slice counts them.
    """

    flops: float
    memory: int
    bandwidth: float
    links: float
    shapes: tuple[str, ...]
    cores: int = 1


CHIPS = {
    "v5e": Chip(197e12, 16 * 2**30, 819e9, 200e9, FLAT),
    "v5p": Chip(459e12, 95 * 2**30, 2765e9, 600e9, DEEP, cores=2),
    "v6e": Chip(918e12, 32 * 2**30, 1638e9, 400e9, FLAT),
}


class Pod(NamedTuple):
    """A slice of a pod: its name, its shape, what its chips are, and these as devices."""

    name: str
    shape: str
    chip: Chip
    layout: Layout


class Cost(NamedTuple):
    """Of one step, on each chip: operations, bytes read and written, bytes sent, bytes held."""

    flops: float
    moved: float
    sent: float
    held: int

    def bounds(self, chip: Chip) -> dict[str, float]:
        """Seconds that each would take alone; the longest bounds the time of a step from below."""
        return {
            "products": self.flops / chip.flops,
            "memory": self.moved / chip.bandwidth,
            "links": self.sent / chip.links,
        }


def pod_of(name: str) -> Pod:
    """The slice of a name such as v5p-256, which is not reached for; UserError where it cannot be
    described.

    As Google Cloud has it, the number counts cores of v5p, two to a chip, and chips of v5e, there
    also v5litepod, and v6e.
    """
    kind, _, number = name.replace("v5litepod", "v5e").partition("-")
    if kind not in CHIPS:
        raise UserError(f"--pod={name}: take {' or '.join(CHIPS)}, as in v5p-256")
    chip = CHIPS[kind]
    slices = {
        str(math.prod(map(int, shape.split("x"))) * chip.cores): shape for shape in chip.shapes
    }
    if number not in slices:
        raise UserError(f"--pod={name}: of {kind} take {', '.join(slices)}, as in v5p-256")
    for key, value in MACHINE.items():
        os.environ.setdefault(key, value)
    try:
        described = get_topology_desc(platform="tpu", topology_name=f"{kind}:{slices[number]}")
    except RuntimeError as error:
        raise UserError(
            f'--pod needs the compiler for TPUs; pip install -e ".[tpu]" ({error})'
        ) from error
    return Pod(name, slices[number], chip, Layout(tuple(described.devices)))


def compiled_cost(step: Callable, given: tuple) -> Cost:
    """What XLA says of `step`, compiled for arguments of such shapes; UserError where it does not
    fit into the memory.
    """
    lowered: Any = step
    try:
        with unkept():
            program = lowered.lower(*given).compile()
    except JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(
            f"a step does not fit into the memory, {needed(str(error))}; take a larger pod, "
            "train.layout=sharded, remat of the network, or a smaller train.batch"
        ) from error
    cost, memory = program.cost_analysis(), program.memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes
    held += memory.temp_size_in_bytes + memory.generated_code_size_in_bytes
    held -= memory.alias_size_in_bytes
    return Cost(cost["flops"], cost["bytes accessed"], sent(program.as_text()), held)


@contextmanager
def unkept() -> Iterator[None]:
    """What is compiled within is not written into the cache, which could not read it again."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = jax.config.values[name]
    jax.config.update(name, math.inf)
    try:
        yield
    finally:
        jax.config.update(name, before)


def needed(message: str) -> str:
    """Of the compiler's message, how much is needed of how much there is."""
    amounts = re.findall(r"\d[\d.]*[KMGT]\b", message)
    return "{} of {}".format(*amounts) if len(amounts) > 1 else message.splitlines()[0]


def sent(text: str) -> float:
    """Bytes that a chip sends in a compiled program, in rings: of n chips that add up B bytes each
    sends 2 B (n - 1) / n, and half of that where each ends with a part of the sum, or with what
    all had a part of.
    """
    total = 0.0
    operation = rf"^ *(?:ROOT )?%\S+ = (.+?) ({'|'.join(SHARES)})\((.*)"
    for result, kind, rest in re.findall(operation, text, re.MULTILINE):
        if LATER.search(rest):
            continue
        size = sum(map(array_bytes, re.findall(r"(\w+)\[([\d,]+)\]", result)))
        groups = rest.partition("replica_groups=")[2]
        total += size * SHARES[kind](group_size(groups) if groups else 1)
    return total


def group_size(groups: str) -> int:
    """How many chips take part, of `{{0,1},{2,3}}`, `[2,2]<=[4]` or `mesh['a'=2,'b'=2] {'b'}`."""
    if listed := re.match(r"\{\{([\d,]+)\}", groups):
        return listed.group(1).count(",") + 1
    if regular := re.match(r"\[\d+,(\d+)\]", groups):
        return int(regular.group(1))
    mesh, _, axes = groups.partition("]")
    sizes = dict(re.findall(r"('\w+')=(\d+)", mesh))
    return math.prod(int(sizes[axis]) for axis in re.findall(r"'\w+'", axes.partition("}")[0]))


def array_bytes(array: tuple[str, str]) -> int:
    """Of an array of this type and shape, as ("f32", "3,3,64,64")."""
    kind, shape = array
    bits = re.search(r"\d+", kind)  # bf16, s32, f8e4m3, pred
    return max(1, int(bits.group()) // 8 if bits else 1) * math.prod(map(int, shape.split(",")))
