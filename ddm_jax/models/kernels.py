"""Which kernels XLA takes for convolutions on a CPU."""

import importlib.util
import mmap
from collections.abc import MutableMapping
from pathlib import Path

FLAG = "xla_cpu_experimental_ynn_fusion_type"  # a list: what XLA hands to YNNPACK


def known(flag: str) -> bool:
    """Whether the installed XLA has a flag of this name: it ends a process that names another."""
    found = importlib.util.find_spec("jaxlib")
    for folder in (found and found.submodule_search_locations) or ():
        for library in Path(folder).glob("libjax_common.*"):
            with library.open("rb") as file:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
                    return held.find(flag.encode()) >= 0
    return False


def prefer_xla(environ: MutableMapping[str, str]) -> None:
    """Hand nothing to YNNPACK, unless XLA_FLAGS of the environment says what.

    XLA's own convolutions take up to twice less time than YNNPACK's, and two to five times less for
    the gradient by the kernel (experiments/convolutions). XLA reads its flags once, when a program
    is first compiled or a device asked for.
    """
    flags = environ.get("XLA_FLAGS", "")
    if FLAG not in flags and known(FLAG):
        environ["XLA_FLAGS"] = f"{flags} --{FLAG}=".strip()
