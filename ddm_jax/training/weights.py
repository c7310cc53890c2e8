"""Weights of other runs: to tell them apart, and to start from them."""

import hashlib
from typing import Any

import jax
import numpy as np


def digest_of(tree: Any) -> str:
    """The sha256 of arrays with their places in a tree, on any device."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)}{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def fitted(fresh: Any, other: Any) -> tuple[Any, list[str]]:
    """`fresh` with the leaves of `other` that have their place and shape, and the names of the
    others of `fresh`."""
    theirs = {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(other)
    }
    left = []

    def taken(path: Any, leaf: Any) -> Any:
        name = jax.tree_util.keystr(path)
        found = theirs.get(name)
        if found is None or (found.shape, found.dtype) != (leaf.shape, leaf.dtype):
            left.append(name)
            return leaf
        return found

    return jax.tree_util.tree_map_with_path(taken, fresh), left
