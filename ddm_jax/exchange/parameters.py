"""The parameters of DDPMUNet by the names and axes of the UNet2DModel of diffusers.

Both hold the same numbers. A kernel (*taps, in, out) is (out, in, *taps) there, and the levels on
the way up are counted from the lowest size. The table of classes, which is the condition's here, is
the network's there.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ddm_jax.diffusion.losses.base import Params

# Applied in this order to the path of a leaf, joined by dots.
_NAMES = (
    (r"\.(conv|norm)\.(kernel|scale|bias)$", r".\2"),
    (r"^((down|up)\d+_resample)\.(kernel|bias)$", r"\1.conv.\3"),
    (r"^down(\d+)_resample", r"down_blocks.\1.downsamplers.0"),
    (r"^up(\d+)_resample", r"up_blocks.\1.upsamplers.0"),
    (r"^(down|up)(\d+)_block", r"\1_blocks.\2.resnets."),
    (r"^(down|up)(\d+)_attention", r"\1_blocks.\2.attentions."),
    (r"^middle_block", "mid_block.resnets."),
    (r"^middle_attention", "mid_block.attentions.0"),
    (r"^emb(\d)\.", r"time_embedding.linear_\1."),
    (r"^norm_out\.", "conv_norm_out."),
    (r"\.emb\.", ".time_emb_proj."),
    (r"\.shortcut\.", ".conv_shortcut."),
    (r"\.norm\.", ".group_norm."),
    (r"\.([qkv])\.", r".to_\1."),
    (r"\.proj\.", ".to_out.0."),
    (r"\.(kernel|scale|embedding)$", ".weight"),
)
# What files of attention from before diffusers 0.17 call its parts.
_FORMER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_FIRST = "time_embedding.linear_1.weight"  # (4 channels, channels)


def joined(params: Params) -> dict[str, Any]:
    """The tree of everything that has a place there."""
    table = {"class_embedding": params.cond} if params.cond else {}
    return {**params.net, **table}


def parted(tree: Mapping[str, Any]) -> Params:
    """The inverse of `joined`."""
    net = {name: part for name, part in tree.items() if name != "class_embedding"}
    return Params(net, tree.get("class_embedding", ()))


def named(path: tuple, levels: int) -> str:
    """The name there of the leaf at a path of `joined`, in a network of so many levels."""
    name = ".".join(part.key for part in path)
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    return re.sub(
        r"^up_blocks\.(\d+)", lambda match: f"up_blocks.{levels - 1 - int(match[1])}", name
    )


def todays(name: str) -> str:
    """The name that diffusers has today for a tensor of a file."""
    parts = name.rsplit(".", 2)
    if len(parts) == 3 and ".attentions." in name:
        parts[1] = _FORMER.get(parts[1], parts[1])
    return ".".join(parts)


def tensors(tree: Any, levels: int) -> dict[str, np.ndarray]:
    """The leaves of `joined` by their names there and with their axes there, in order."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        leaf = np.asarray(leaf)
        kernel = path[-1].key == "kernel"
        found[named(path, levels)] = np.moveaxis(leaf, (-1, -2), (0, 1)) if kernel else leaf
    return found


def shapes(tree: Any, levels: int) -> dict[str, tuple[int, ...]]:
    """The shapes of `tensors`; the leaves of the tree may be shapes alone."""

    def empty(leaf: Any) -> np.ndarray:
        return np.broadcast_to(np.float32(0), leaf.shape)

    return {name: leaf.shape for name, leaf in tensors(jax.tree.map(empty, tree), levels).items()}


def taken(
    found: Mapping[str, np.ndarray], like: Any, levels: int, cosines_first: bool = False
) -> Any:
    """The tree of the structure of `like` whose `tensors` are `found`.

    cosines_first: whether the embedding of the time begins with its cosines there, as here with its
    sines: then the two halves of what the first layer takes change places.
    """

    def leaf(path: tuple, _: Any) -> np.ndarray:
        name = named(path, levels)
        tensor = found[name]
        if cosines_first and name == _FIRST:
            tensor = np.roll(tensor, tensor.shape[1] // 2, axis=1)
        kernel = path[-1].key == "kernel"
        tensor = np.moveaxis(tensor, (0, 1), (-1, -2)) if kernel else tensor
        return np.ascontiguousarray(tensor, np.float32)

    return jax.tree_util.tree_map_with_path(leaf, like)
