"""Weights of published networks: PyTorch's files, converted once, and safetensors.

Names and shapes are compared with those of the network before any weight is read.
"""

import hashlib
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ddm_jax import files
from ddm_jax.data.dataset import Report
from ddm_jax.errors import UserError
from ddm_jax.training.weights import digest_of

EXTRA = 'pip install -e ".[features]"'
_COUNTERS = "num_batches_tracked"  # of training steps, which nothing reads


def needs(package: str, what: str) -> Any:
    """The module `package`; UserError that names the extra where it is not installed."""
    if find_spec(package.partition(".")[0]) is None:
        raise UserError(f"{what} needs: {EXTRA}")
    return import_module(package)


def named(like: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of a tree's leaves, by their places joined with dots."""
    leaves = jax.tree_util.tree_leaves_with_path(like)
    return {_name(path): tuple(leaf.shape) for path, leaf in leaves}


def read(path: Path, like: Any, what: str) -> tuple[Any, str]:
    """(weights, their sha256) of a .safetensors file, in the places of `like`, a tree of shapes.

    what: the setting that names the file, for errors. UserError for a file that is broken, that is
    not of this network or that holds other weights than the sum which `convert` wrote into it.
    """
    safe_open = needs("safetensors", what).safe_open
    try:
        with safe_open(path, framework="numpy") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            kinds = {name: part.get_dtype() for name, part in parts.items()}
            compare(
                {n: tuple(p.get_shape()) for n, p in parts.items()}, kinds, like, path, what=what
            )
            found = {name: file.get_tensor(name) for name in named(like)}
            written = (file.metadata() or {}).get("sha256")
    except UserError:
        raise
    except Exception as error:  # the library has no class of its own for what is not readable
        raise unreadable(path, what, error) from error
    params = placed(found, like)
    digest = digest_of(params)
    if written not in (None, digest):
        raise unreadable(path, what, ValueError("its sum is not that of its weights"))
    return params, digest


def placed(found: Mapping[str, np.ndarray], like: Any) -> Any:
    """Arrays by name in the places of a tree."""
    return jax.tree_util.tree_map_with_path(lambda place, _: found[_name(place)], like)


def converted(
    source: Callable[[], Path], kept: Path, like: Any, what: str, *, report: Report
) -> tuple[Any, str]:
    """(weights, their sha256) of the PyTorch file `source()`, kept as the .safetensors file `kept`.

    It is converted where it is not kept yet, or where what is kept is broken.
    """
    needs("safetensors", what)
    if kept.exists():
        try:
            return read(kept, like, what)
        except UserError:
            report(f"{kept} is broken, and is made anew")
    convert(source(), kept, like, what, report=report)
    return read(kept, like, what)


def compare(
    shapes: dict[str, tuple[int, ...]],
    kinds: dict[str, str],
    like: Any,
    path: Path,
    *,
    what: str,
) -> None:
    """UserError where tensors of these shapes and kinds are not those of `like`."""
    wanted = named(like)
    here = {name: shape for name, shape in shapes.items() if not name.endswith(_COUNTERS)}
    wrong = [
        *(f"{name} is missing" for name in wanted if name not in here),
        *(f"{name} is none of its tensors" for name in here if name not in wanted),
        *(
            f"{name} is {kinds[name]} {here[name]}, not F32 {shape}"
            for name, shape in wanted.items()
            if name in here and (here[name], kinds[name]) != (shape, "F32")
        ),
    ]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise UserError(
            f"{what}: {path} does not hold this network: {wrong[0][:200]}{more}; give the file of "
            "its published weights"
        )


def convert(source: Path, target: Path, like: Any, what: str, *, report: Report) -> None:
    """Put the tensors of a PyTorch file of weights into `target`, a .safetensors file.

    Of `source` tensors alone are read, with no code in it run. UserError as in `read`.
    """
    torch = needs("torch", what)
    save_file = needs("safetensors.numpy", what).save_file

    def loaded(device: str) -> dict[str, Any]:
        found = torch.load(source, map_location=device, weights_only=True)
        return {str(name): tensor for name, tensor in found.items()}

    try:
        heads = loaded("meta")  # names and shapes, without memory
        shapes = {name: tuple(tensor.shape) for name, tensor in heads.items()}
        kinds = {name: _kind(str(tensor.dtype)) for name, tensor in heads.items()}
        compare(shapes, kinds, like, source, what=what)
        tensors = loaded("cpu")
        arrays = {name: np.ascontiguousarray(tensors[name].numpy()) for name in named(like)}
        digest = digest_of(placed(arrays, like))
    except UserError:
        raise
    except Exception as error:  # torch raises whatever its files lead to
        raise unreadable(source, what, error) from error
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        files.replace(target, lambda part: save_file(arrays, part, {"sha256": digest}))
    except OSError as error:
        raise UserError(
            f"cannot keep the converted weights in {target.parent}: {error}; give "
            "--config.data.cache=<folder>"
        ) from error
    report(f"converted {source.name} to {target}")


def sha256_of(path: Path, what: str) -> str:
    """The sha256 of a file; UserError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, what, error) from error


def unreadable(path: Path, what: str, error: Exception) -> UserError:
    """One line, to be raised, for a file that `error` came of."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return UserError(
        f"{what}: {path} is no file of weights that can be read: {line[:200]}; put a good copy "
        "there, or name another"
    )


def _name(path: Any) -> str:
    return ".".join(part.key for part in path)


def _kind(dtype: str) -> str:
    return "F32" if dtype == "torch.float32" else dtype
