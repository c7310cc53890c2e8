"""DDPMUNet and the UNet2DModel of diffusers with the same settings and, by transposes, weights.

Code bases differ in these, so they are set here to what the networks of Ho et al. 2020 have
(google/ddpm-cifar10-32):

- GroupNorm has epsilon 1e-6 and 32 groups. Ours takes fewer where a group would have less than 4
  channels, so widths start at 128 here.
- The embedding of the time has its sines first (`flip_sin_to_cos=False`) and half - 1 in the
  exponent (`freq_shift=1`).
- The strided convolution pads one row and column at the end (`downsample_padding=0`), as "SAME"
  does for even sizes.
- `attention_head_dim` is the width of a head, ours is their number: they agree where all levels
  with attention, and the last, are equally wide; None is one head.
- Attention stands at sizes here, at levels there.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
from torch_side import diffusers, torch

from ddm_jax.models.ddpm_unet import DDPMUNet


def theirs(net: DDPMUNet, size: tuple[int, int], channels: int, classes: int = 0):
    """The UNet2DModel with the settings of `net` for images (*size, channels), with a table of
    `classes` rows where there are any.
    """
    levels = range(len(net.multipliers))
    attends = [size[0] // 2**level in net.attention for level in levels]
    down = ["AttnDownBlock2D" if a else "DownBlock2D" for a in attends]
    up = ["AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)]
    widths = [net.channels * m for m in net.multipliers]
    resample = {"conv": "conv", "block": "resnet"}[net.resample]
    return diffusers.UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=net.out_channels,
        center_input_sample=False,
        time_embedding_type="positional",
        freq_shift=1,
        flip_sin_to_cos=False,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        block_out_channels=tuple(widths),
        layers_per_block=net.blocks,
        mid_block_scale_factor=1,
        downsample_padding=0,
        downsample_type=resample,
        upsample_type=resample,
        dropout=net.dropout,
        act_fn="silu",
        attention_head_dim=None if net.heads == 1 else widths[-1] // net.heads,
        norm_num_groups=32,
        attn_norm_num_groups=32,
        norm_eps=1e-6,
        resnet_time_scale_shift="scale_shift" if net.scale_shift else "default",
        num_class_embeds=classes or None,
    ).eval()


QUIET = {"conv1": 0.05, "emb": 0.01}


def awake(net: DDPMUNet, x, *rest):
    """Random leaves, those too that start at 0 or 1, so that every path matters.

    What stands before the second norm of a block is small, so that the norm sees variances of
    2e-3, where its epsilon shows. The noise embedding is the smaller part: at t = 999 its sines
    differ by 1e-4 where a frequency is rounded otherwise.
    """
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        names = [part.key for part in path]
        normal = rng.normal(size=leaf.shape)
        if names[-1] == "scale":
            return jnp.asarray(1 + 0.3 * normal, jnp.float32)
        gain = min((QUIET[name] for name in names if name in QUIET), default=1.0)
        fan_in = np.prod(leaf.shape[:-1]) if names[-1] == "kernel" else 100
        return jnp.asarray(gain * normal / np.sqrt(fan_in), jnp.float32)

    shapes = jax.eval_shape(net.init, jax.random.key(0), x, *rest)["params"]
    return jax.tree_util.tree_map_with_path(draw, shapes)


# Applied in this order to the path of a leaf, joined by dots.
NAMES = (
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


def converted(params, levels: int) -> list[tuple[str, np.ndarray]]:
    """Our leaves with their names and axes there, in the order of the tree.

    Kernels (*taps, in, out) become (out, in, *taps). They count the up levels from the lowest size.
    """

    def renumbered(match):
        return f"up_blocks.{levels - 1 - int(match[1])}"

    pairs = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = ".".join(part.key for part in path)
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)
        name = re.sub(r"^up_blocks\.(\d+)", renumbered, name)
        if path[-1].key == "kernel":
            leaf = jnp.moveaxis(leaf, (-1, -2), (0, 1))
        pairs.append((name, np.asarray(leaf)))
    return pairs


def load(other, pairs) -> None:
    """Fill their network, which has tensors of these names and shapes and no others."""
    other.load_state_dict({name: torch.tensor(leaf) for name, leaf in pairs}, strict=True)


def channels_first(x) -> "torch.Tensor":
    return torch.tensor(np.moveaxis(np.asarray(x), -1, 1))


def channels_last(x: "torch.Tensor") -> np.ndarray:
    return np.moveaxis(x.detach().numpy(), 1, -1)
