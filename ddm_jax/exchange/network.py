"""The settings of UNet2DModel of diffusers in those of DDPMUNet, and the other way."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from ddm_jax.exchange.values import Values
from ddm_jax.models.ddpm_unet import DDPMUNet
from ddm_jax.models.layers import norm_groups

# What UNet2DModel takes for settings that a file lacks.
DEFAULTS: Mapping[str, Any] = {
    "sample_size": None,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "down_block_types": ("DownBlock2D", *("AttnDownBlock2D",) * 3),
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": (*("AttnUpBlock2D",) * 3, "UpBlock2D"),
    "block_out_channels": (224, 448, 672, 896),
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "dropout": 0.0,
    "act_fn": "silu",
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "attn_norm_num_groups": None,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
    "class_embed_type": None,
    "num_class_embeds": None,
    "num_train_timesteps": None,  # read by embeddings that are learned, which are refused
}
# What DDPMUNet has one value of, and what it is.
_FIXED: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "center_input_sample": ((False,), "ours sees x as it is"),
    "time_embedding_type": (("positional",), "ours has sines and cosines"),
    "freq_shift": ((1, 1.0), "ours has half - 1 in the exponent of its frequencies"),
    "mid_block_type": (("UNetMidBlock2D",), "ours has a block, attention and a block there"),
    "mid_block_scale_factor": ((1, 1.0), "ours divides by nothing there"),
    "act_fn": (("silu", "swish"), "ours has swish"),
    "norm_eps": ((1e-6,), "our norms have this epsilon"),
    "add_attention": ((True,), "ours has attention in the middle"),
    "class_embed_type": ((None,), "ours has a table of classes"),
}
# Kinds of levels: whether attention follows their blocks, and how they change the size where the
# settings `downsample_type` and `upsample_type` do not say it.
_KINDS: Mapping[str, tuple[bool, str]] = {
    "DownBlock2D": (False, "conv"),
    "UpBlock2D": (False, "conv"),
    "AttnDownBlock2D": (True, ""),
    "AttnUpBlock2D": (True, ""),
    "ResnetDownsampleBlock2D": (False, "block"),
    "ResnetUpsampleBlock2D": (False, "block"),
}
_RESAMPLE = {"conv": "conv", "resnet": "block"}
_WIDEST = 2**16


class Network(NamedTuple):
    """A network there in our words.

    settings: of DDPMUNet, as far as the file says them. classes: rows of its table, 0 for none.
    """

    settings: dict[str, Any]
    in_channels: int
    out_channels: int
    classes: int
    cosines_first: bool


def read(path: Path, given: Mapping[str, Any], space: tuple[int, ...]) -> Network:
    """The settings of a config.json, for images of the size `space`.

    UserError names the key for which DDPMUNet has no equal.
    """
    values = Values(path, given, DEFAULTS)
    for key, (valid, reason) in _FIXED.items():
        values.only(key, valid, reason)
    _same_size(values, space)
    widths = values.wholes("block_out_channels", 2, _WIDEST)
    if any(width % widths[0] for width in widths):
        raise values.refused("block_out_channels", widths, "ours are multiples of the first")
    embedded = values["time_embedding_dim"]
    if embedded not in (None, 4 * widths[0]):
        raise values.refused("time_embedding_dim", embedded, f"ours has {4 * widths[0]}")
    attends, resample = _levels(values, len(widths))
    settings = {
        "channels": widths[0],
        "multipliers": tuple(width // widths[0] for width in widths),
        "blocks": values.whole("layers_per_block", 1, 100),
        "patch": 1,
        "space_time": "joint",
        "attention": tuple(space[0] // 2**k for k, attend in enumerate(attends) if attend),
        "heads": _heads(values, widths, attends),
        "scale_shift": "scale_shift"
        == values.only("resnet_time_scale_shift", ("default", "scale_shift"), "ours has no other"),
        "resample": resample,
        "groups": _groups(values),
    }
    if "dropout" in given:
        settings["dropout"] = values.number("dropout")
    classes = values["num_class_embeds"]
    return Network(
        settings,
        values.whole("in_channels", 1, _WIDEST),
        values.whole("out_channels", 1, _WIDEST),
        0 if classes is None else values.whole("num_class_embeds", 1, _WIDEST),
        values.flag("flip_sin_to_cos"),
    )


def _same_size(values: Values, space: tuple[int, ...]) -> None:
    size = values["sample_size"]
    sides = [size, size] if type(size) is int else size
    if size is not None and sides not in ([*space], space):
        remedy = ""
        if isinstance(sides, (list, tuple)):
            remedy = f"; set data.size={','.join(map(str, sides))}"
        shown = "x".join(map(str, space))
        raise values.refused("sample_size", size, f"the data are {shown}{remedy}")


def _levels(values: Values, count: int) -> tuple[list[bool], str]:
    """(whether each level has attention, how sizes change) of the levels from the highest size."""
    ways = {}
    for key, resample in (
        ("down_block_types", "downsample_type"),
        ("up_block_types", "upsample_type"),
    ):
        kinds = [str(kind).removeprefix("UNetRes") for kind in values.listed(key)]
        for kind in kinds:
            if kind not in _KINDS or ("Down" in kind) != (key == "down_block_types"):
                raise values.refused(key, kind, "ours has no such level")
        if len(kinds) != count:
            raise values.refused(key, kinds, f"block_out_channels has {count} levels")
        chosen = values.only(resample, tuple(_RESAMPLE), "ours has no other")
        ways[key] = [(_KINDS[kind][0], _KINDS[kind][1] or _RESAMPLE[chosen]) for kind in kinds]
    down, up = ways["down_block_types"], ways["up_block_types"][::-1]
    if [attend for attend, _ in down] != [attend for attend, _ in up]:
        raise values.refused(
            "up_block_types", values["up_block_types"], "ours has attention at the same sizes down"
        )
    between = {way for _, way in (*down[:-1], *up[1:])}  # the lowest goes no lower, the first no up
    if len(between) > 1:
        raise values.refused(
            "downsample_type", values["downsample_type"], "ours changes every size in the same way"
        )
    resample = between.pop() if between else "conv"
    if resample == "conv" and count > 1:
        values.only("downsample_padding", (0,), "ours pads one row and column at the end")
    return [attend for attend, _ in down], resample


def _heads(values: Values, widths: tuple[int, ...], attends: list[bool]) -> int:
    """How many heads attention has, which is at some levels and in the middle."""
    if values["attention_head_dim"] is None:
        return 1
    size = values.whole("attention_head_dim", 1, _WIDEST)
    found = {width / size for width, attend in zip(widths, attends, strict=True) if attend} | {
        widths[-1] / size
    }
    if len(found) > 1 or not min(found).is_integer():
        counts = ", ".join(f"{count:g}" for count in sorted(found))
        raise values.refused(
            "attention_head_dim", size, f"it makes {counts} heads, ours has one number for all"
        )
    return int(found.pop())


def _groups(values: Values) -> int:
    groups = values.whole("norm_num_groups", 1, _WIDEST)
    scale_shift = values["resnet_time_scale_shift"] == "scale_shift"
    of_attention = values["attn_norm_num_groups"]
    if of_attention != groups and (of_attention is not None or scale_shift):
        reason = f"attention in the middle has a norm of {groups} groups, as all of ours"
        raise values.refused("attn_norm_num_groups", of_attention, reason)
    return groups


def write(net: DDPMUNet, shape: tuple[int, ...], params: Any, classes: int = 0) -> dict[str, Any]:
    """The settings there of a network with parameters `params`, for examples of `shape`.

    classes: rows of its table. Raises ValueError for what UNet2DModel has no equal of.
    """
    if net.patch > 1:
        raise ValueError(f"model.ddpm_unet.patch={net.patch}: there, no pixels become channels")
    if net.factorised:
        raise ValueError("model.ddpm_unet.space_time=factorised: there, no axis is time")
    if len(shape) != 3:
        raise ValueError(f"examples of {'x'.join(map(str, shape))}: there, they are images")
    leaves = jax.tree_util.tree_leaves_with_path(params)
    normed = {leaf.shape[0] for path, leaf in leaves if path[-1].key == "scale"}
    groups = {net.groups or norm_groups(width) for width in normed}
    if len(groups) > 1:
        raise ValueError(
            f"norms of {', '.join(map(str, sorted(groups)))} groups, by their widths: there, all "
            "have the same number; train with model.ddpm_unet.groups"
        )
    widths = [net.channels * multiplier for multiplier in net.multipliers]
    attends = [shape[0] // 2**level in net.attention for level in range(len(widths))]
    attending = {width for width, attend in zip(widths, attends, strict=True) if attend}
    if net.heads > 1 and attending - {widths[-1]}:
        raise ValueError(
            f"model.ddpm_unet.heads={net.heads} at levels of different widths: there, the width of "
            "a head is the same at all levels"
        )
    plain = {"conv": "", "block": "Resnet"}[net.resample]

    def kind(way: str, attend: bool) -> str:
        if attend:
            return f"Attn{way}Block2D"
        return f"{plain}{way}{'sample' if plain else ''}Block2D"

    return {
        "_class_name": "UNet2DModel",
        **DEFAULTS,
        "sample_size": shape[0] if shape[0] == shape[1] else list(shape[:2]),
        "in_channels": shape[2],
        "out_channels": net.out_channels,
        "freq_shift": 1,
        "flip_sin_to_cos": False,
        "down_block_types": [kind("Down", attend) for attend in attends],
        "up_block_types": [kind("Up", attend) for attend in reversed(attends)],
        "block_out_channels": widths,
        "layers_per_block": net.blocks,
        "downsample_padding": 0,
        "downsample_type": {"conv": "conv", "block": "resnet"}[net.resample],
        "upsample_type": {"conv": "conv", "block": "resnet"}[net.resample],
        "dropout": net.dropout,
        "attention_head_dim": None if net.heads == 1 else widths[-1] // net.heads,
        "norm_num_groups": (number := groups.pop()),
        "attn_norm_num_groups": number,
        "norm_eps": 1e-6,
        "resnet_time_scale_shift": "scale_shift" if net.scale_shift else "default",
        "num_class_embeds": classes or None,
    }
