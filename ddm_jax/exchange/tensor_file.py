"""Files of safetensors, whose header is compared before memory is taken."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ddm_jax.errors import UserError

_WIDENED = ("F32", "F16", "F64")  # other kinds are whole numbers, or numpy lacks them


def read(
    path: Path, shapes: Mapping[str, tuple[int, ...]], todays: Callable[[str], str]
) -> dict[str, np.ndarray]:
    """The tensors of a file by the names of `shapes`, float32.

    todays: from names in the file to those of `shapes`. UserError for a file that is broken, has
    other tensors or other shapes than `shapes` says, or numbers that are not finite.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            names = {todays(name): name for name in file.keys()}  # noqa: SIM118 - no mapping
            _check_names(path, names, shapes)
            slices = {name: file.get_slice(names[name]) for name in shapes}
            for name, shape in shapes.items():
                have, kind = tuple(slices[name].get_shape()), slices[name].get_dtype()
                if have != shape:
                    raise UserError(
                        f"{path}: {name} has the shape {[*have]}, and the network of config.json "
                        f"takes {[*shape]}; bring the two files that belong together"
                    )
                if kind not in _WIDENED:
                    raise UserError(
                        f"{path}: {name} is of {kind}; load it in diffusers with "
                        "torch_dtype=torch.float32 and save it again"
                    )
            found = {name: file.get_tensor(names[name]) for name in shapes}
    except (SafetensorError, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is no whole file of safetensors ({text}); copy it anew") from error
    for name, tensor in found.items():
        if not np.isfinite(tensor).all() or abs(tensor).max(initial=0) > np.finfo(np.float32).max:
            raise UserError(f"{path}: {name} holds numbers that are not finite; take a good copy")
    return {name: tensor.astype(np.float32, copy=False) for name, tensor in found.items()}


def _check_names(path: Path, names: Mapping[str, str], shapes: Mapping[str, object]) -> None:
    missing, more = sorted(shapes.keys() - names.keys()), sorted(names.keys() - shapes.keys())
    if missing or more:
        lacks = f"lacks {_few(missing)}" if missing else ""
        holds = f"holds {_few(more)}, which the network of config.json has not" if more else ""
        raise UserError(f"{path} {' and '.join(filter(None, (lacks, holds)))}")


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(" ".join(name.split())[:80] for name in names[:3]) + more


def write(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write tensors in the form in which torch reads them."""
    whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    path.parent.mkdir(exist_ok=True)
    save_file(whole, path, metadata={"format": "pt"})
