"""The leaves of a state as a checkpoint holds them: by name, with their sums."""

import hashlib
import math
from typing import Any

import jax
import numpy as np

from ddm_jax.errors import UserError

# What earlier versions called leaves: networks held the table of classes, which is the condition's
# now.
FORMER = {".net['classes']['embedding']": ".cond['embedding']"}


def size_of(tree: Any) -> int:
    """The bytes of all leaves that have a shape."""
    return sum(math.prod(a.shape) * np.dtype(a.dtype).itemsize for a in jax.tree.leaves(tree))


def flat(tree: Any) -> dict[str, np.ndarray]:
    """Every leaf by its path in the tree."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {"." + jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def today(leaves: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Leaves by their names of today."""
    for former, now in FORMER.items():
        leaves = {key.replace(former, now): leaf for key, leaf in leaves.items()}
    return leaves


def fitted(tree: Any, leaves: dict[str, np.ndarray], step: int) -> Any:
    """The leaves of checkpoint `step` as a tree like `tree`.

    UserError where one is missing, too many, or of another shape or type.
    """
    wanted = flat(jax.tree.map(lambda a: np.broadcast_to(np.zeros((), a.dtype), a.shape), tree))
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


def _form(leaf: np.ndarray | None) -> str:
    return "nothing" if leaf is None else f"{leaf.dtype}{list(leaf.shape)}"
