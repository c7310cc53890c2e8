"""The leaves of a state as a checkpoint holds them: by name, in parts where they lie in parts.

A part of an array is named after the array and its place, as `.net['kernel'][0:64,0:3]`.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ddm_jax.errors import UserError

# What earlier versions called leaves: networks held the table of classes, which is the condition's
# now.
FORMER = {".net['classes']['embedding']": ".cond['embedding']"}
_PART = re.compile(r"(.*)\[(\d+:\d+(?:,\d+:\d+)*)\]", re.DOTALL)  # the array, and where in it


def size_of(tree: Any) -> int:
    """The bytes of all leaves that have a shape."""
    return sum(math.prod(a.shape) * np.dtype(a.dtype).itemsize for a in jax.tree.leaves(tree))


def flat(tree: Any) -> dict[str, Any]:
    """Every leaf by its path in the tree."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {"." + jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def owned(tree: Any, first: bool) -> dict[str, np.ndarray]:
    """What this process has to write of every leaf: of those that lie in parts, its own parts.

    What several devices have, one of them writes; what every process has, the first.
    """
    found: dict[str, Any] = {}
    for name, leaf in flat(tree).items():
        if not isinstance(leaf, jax.Array):
            found |= {name: leaf} if first else {}
        elif first or not leaf.is_fully_addressable:
            mine = (shard for shard in leaf.addressable_shards if shard.replica_id == 0)
            found |= {name + _place(shard.index, leaf.shape): shard.data for shard in mine}
    return {name: np.asarray(part) for name, part in jax.device_get(found).items()}


def _place(index: tuple[slice, ...], shape: tuple[int, ...]) -> str:
    """`[0:64,0:3]`, nothing where it is the whole array."""
    bounds = [where.indices(size)[:2] for where, size in zip(index, shape, strict=True)]
    if bounds == [(0, size) for size in shape]:
        return ""
    return f"[{','.join(f'{start}:{stop}' for start, stop in bounds)}]"


def joined(leaves: Mapping[str, np.ndarray], like: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Whole arrays of what is there; ValueError where one of them is not all there.

    like: by name, what has the shapes of whole arrays.
    """
    whole = {name: leaf for name, leaf in leaves.items() if not _PART.fullmatch(name)}
    left: dict[str, int] = {}
    for name, leaf in leaves.items():
        if not (found := _PART.fullmatch(name)) or found[1] in whole.keys() - left.keys():
            continue
        array, shape = found[1], getattr(like.get(found[1]), "shape", ())
        bounds = [tuple(map(int, text.split(":"))) for text in found[2].split(",")]
        fits = len(bounds) == len(shape) and all(
            stop <= size for (_, stop), size in zip(bounds, shape, strict=True)
        )
        if not fits or leaf.shape != tuple(stop - start for start, stop in bounds):
            raise ValueError(f"{name} is no part of an array of the shape {list(shape)}")
        if array not in left:
            whole[array], left[array] = np.empty(shape, leaf.dtype), math.prod(shape)
        whole[array][tuple(slice(*ends) for ends in bounds)] = leaf
        left[array] -= leaf.size
    if short := [name for name, missing in left.items() if missing]:
        raise ValueError(f"a part of {short[0]} is not there")
    return whole


def today(leaves: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Leaves by their names of today."""
    for former, now in FORMER.items():
        leaves = {key.replace(former, now): leaf for key, leaf in leaves.items()}
    return leaves


def fitted(tree: Any, leaves: dict[str, np.ndarray], step: int) -> Any:
    """The leaves of checkpoint `step` as a tree like `tree`.

    UserError where one is missing, too many, or of another shape or type.
    """
    wanted = flat(tree)
    for key in sorted(wanted.keys() | leaves.keys()):
        have, want = leaves.get(key), wanted.get(key)
        if have is None or want is None or (have.shape, have.dtype) != (want.shape, want.dtype):
            raise UserError(
                f"checkpoint {step} does not fit this config at {key[1:]}: saved "
                f"{_form(have)}, expected {_form(want)}; give the config that it was trained with"
            )
    return jax.tree.unflatten(jax.tree.structure(tree), [leaves[key] for key in wanted])


def sha256(leaf: np.ndarray) -> str:
    """Of the type, the shape and the numbers."""
    head = f"{leaf.dtype.str}{leaf.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(leaf).tobytes()).hexdigest()


def _form(leaf: Any) -> str:
    return "nothing" if leaf is None else f"{leaf.dtype}{list(leaf.shape)}"
