"""What a config computes with on devices that lack what it names."""

import re
from functools import cache
from pathlib import Path

import jax
from ml_collections import ConfigDict

from ddm_jax.config.load import used

# As the processor names them to Linux: dot products of bfloat16, and matrices of it.
UNITS = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
PROCESSOR = Path("/proc/cpuinfo")


def suited(config: ConfigDict, platform: str = "") -> tuple[ConfigDict, tuple[str, ...]]:
    """The config as devices compute it, and a line for each setting of the network that differs.

    platform: that of the devices as jax names it, "" for those that this process computes on.

    A processor without units for bfloat16 converts every number and is slower by it than by
    float32; cuDNN is a library of NVIDIA's. A config that names either for a GPU so runs on any
    machine, and nothing of what is kept, weights included, has another type.
    """
    platform, changed, lines = platform or jax.default_backend(), {}, []
    for key, value in used(config).items():
        setting = key.startswith("model.") and (key.rpartition(".")[2], value)
        if setting == ("dtype", "bfloat16") and platform == "cpu" and not has_units():
            changed[key] = "float32"
            lines.append(f"{key}={value}: this processor has no unit for it; float32 is computed")
        if setting == ("kernel", "cudnn") and platform != "gpu":
            changed[key] = "xla"
            lines.append(f"{key}={value}: cuDNN needs a GPU of NVIDIA's; XLA's kernel is taken")
    own = config.copy_and_resolve_references()
    own.update_from_flattened_dict(changed)
    return own, tuple(lines)


@cache
def has_units() -> bool:
    """Whether the processor says that it has units for bfloat16."""
    try:
        text = PROCESSOR.read_text()
    except OSError:
        return False
    return not UNITS.isdisjoint(re.findall(r"\w+", text))
