"""What the compiled programs are made of: counts that cost time, of the train and the sample step.

    python tests/programs.py
    python tests/programs.py check

The first writes them to tests/training/programs.json, the second says what has changed since. The
programs are those of configs/quickstart.py on shapes of 32 x 32 pixels, with a U-Net of fewer
channels that has dropout and attention: one train step of 16 examples, and 8 samples of 5 steps
with guidance. In float32 and in bfloat16 they are lowered for CPU, GPU and TPU on any machine; in
float32 they are compiled for its CPU.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.extend.core import jaxprs_in_params

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from ddm_jax.config.assemble import assemble  # noqa: E402
from ddm_jax.config.load import load_config, override  # noqa: E402
from ddm_jax.config.tables import complete, data_options  # noqa: E402
from ddm_jax.data import sources  # noqa: E402
from ddm_jax.data.pipeline import feed  # noqa: E402
from ddm_jax.tasks.generator import Weights  # noqa: E402
from ddm_jax.training.base import Constants  # noqa: E402

STORED = ROOT / "tests/training/programs.json"
STAGES = ("asked", "cpu", "cuda", "tpu", "compiled")
COSTS = ("flops", "bytes accessed")  # by XLA's own estimate, before it optimises
TYPES = ("float32", "bfloat16")
SETTINGS = (
    "data.name=shapes",
    "data.count=64",
    "data.size=(32,)",
    "train.batch=16",
    "sample.steps=5",
    "model.ddpm_unet.channels=16",
    "model.ddpm_unet.multipliers=(1,2)",
    "model.ddpm_unet.attention=(16,)",
    "model.ddpm_unet.dropout=0.1",
)
LOWERED = {  # what StableHLO calls it
    "convolutions": "stablehlo.convolution",
    "matrix products": "stablehlo.dot_general",
    "transposes": "stablehlo.transpose",
    "loops": "stablehlo.while",
}
COMPILED = {  # what runs one after the other, as HLO calls it
    "fused kernels": "fusion",
    "convolutions": "convolution",
    "matrix products": "dot",
    "transposes": "transpose",
    "copies": "copy",
}

Counts = dict[str, float]


def programs(dtype: str) -> dict[str, tuple[Callable, tuple]]:
    """(function, its arguments) of the train and the sample step, by name."""
    config = complete(load_config(str(ROOT / "configs/quickstart.py")))
    settings = (*SETTINGS, f"model.ddpm_unet.dtype={dtype}")
    config = override(config, [f"--config.{setting}" for setting in settings])
    data = sources.load(data_options(config))
    setup = assemble(config, data.spec)
    task, state = setup.task, jax.eval_shape(setup.init_state)
    batch = feed(data, 0, setup.train.batch, 0, augment=task.augment, by_index=False)
    given = state, batch, Constants(None, {}), jax.eval_shape(lambda: jax.random.key(0))

    def sampled(params: Any, index: Any) -> Any:
        return task.generator.generate(Weights(params, {}), index)

    index = jax.ShapeDtypeStruct((8,), np.int32)
    return {
        f"train, {dtype}": (setup.train_step().whole(), given),
        f"sample, {dtype}": (sampled, (state.params, index)),
    }


def equations(jaxpr: Any) -> Iterator[Any]:
    """All equations, those of loops and calls too."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from equations(inner)


def asked(jaxpr: Any) -> Counts:
    """How often random numbers are drawn, keys made of keys and arrays sorted; how many numbers."""
    found = list(equations(jaxpr))
    draws = [e for e in found if e.primitive.name == "random_bits"]
    return {
        "draws": len(draws),
        "random numbers": sum(e.outvars[0].aval.size for e in draws),
        "keys": sum(e.primitive.name in ("random_fold_in", "random_split") for e in found),
        "sorts": sum(e.primitive.name == "sort" for e in found),
    }


def lowered(text: str) -> Counts:
    """Of StableHLO; a product counts as one of float32 where an operand is."""
    counts = {name: text.count(term) for name, term in LOWERED.items()}
    products = re.findall(r"stablehlo\.(?:convolution|dot_general).*: \((.*)\) ->", text)
    return counts | {"products of float32": sum("xf32>" in operands for operands in products)}


def compiled(program: Any) -> Counts:
    """Of what XLA has made for this machine's CPU: what its main part runs, and its memory."""
    _, _, main = program.as_text().partition("\nENTRY ")
    found = Counter(re.findall(r"^ +(?:ROOT )?%?\S+ = \S+ ([\w-]+)\(", main, re.M))
    counts = {name: found[term] for name, term in COMPILED.items()}
    return counts | {"bytes beside arguments": program.memory_analysis().temp_size_in_bytes}


def counted(function: Callable, given: tuple, stages: Sequence[str]) -> dict[str, Counts]:
    """The counts of a program at some of STAGES."""
    traced = jax.jit(function).trace(*given)
    here, found = traced.lower(lowering_platforms=("cpu",)), {}
    for stage in stages:
        if stage == "asked":
            cost = here.cost_analysis()
            found[stage] = asked(traced.jaxpr.jaxpr) | {name: float(cost[name]) for name in COSTS}
        elif stage == "compiled":
            found[stage] = compiled(here.compile())
        else:
            found[stage] = lowered(traced.lower(lowering_platforms=(stage,)).as_text())
    return found


def differences(
    name: str, found: Mapping[str, Counts], stored: Mapping[str, Counts]
) -> Iterator[str]:
    """Each count that is not the stored one, in words.

    Costs may be off by a thousandth; what is compiled by a twentieth or two, for processors differ.
    """
    for stage, counts in found.items():
        for what, count in counts.items():
            before = stored[stage][what]
            off = 1e-3 * before * (what in COSTS)
            if stage == "compiled":
                off = max(2, before / 20)
            if abs(count - before) > off:
                yield f"{name}, {stage}: {what} {before:,.0f} -> {count:,.0f}"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("check", nargs="?", choices=["check"], help="compare, and write nothing")
    check, found = parser.parse_args(arguments).check, {}
    for dtype in TYPES:
        stages = STAGES if dtype == "float32" else STAGES[:-1]
        found |= {name: counted(*program, stages) for name, program in programs(dtype).items()}
    if not check:
        STORED.write_text(json.dumps(found, indent=1) + "\n")
        print(f"wrote {STORED}")
        return 0
    stored = json.loads(STORED.read_text())
    changed = [line for name in found for line in differences(name, found[name], stored[name])]
    print("\n".join(changed) or "nothing has changed")
    return len(changed) > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
