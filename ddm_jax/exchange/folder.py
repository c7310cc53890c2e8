"""The files of a network in a folder of diffusers: alone, or inside a pipeline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ddm_jax.errors import UserError
from ddm_jax.exchange.values import read_object

WEIGHTS = "diffusion_pytorch_model.safetensors"
NETWORK, SCHEDULER = "config.json", "scheduler_config.json"


class Found(NamedTuple):
    """The files, and the settings in them; a network alone has no scheduler."""

    weights: Path
    network: tuple[Path, Mapping[str, Any]]
    scheduler: tuple[Path, Mapping[str, Any]] | None


def find(folder: Path) -> Found:
    """What a folder holds: that of a network, or of a pipeline with `unet` and `scheduler`.

    Old pipelines have all files in one folder. UserError where a file is missing, with the remedy.
    """
    inner = folder / "unet" if (folder / "unet").is_dir() else folder
    network = inner / NETWORK
    if not network.is_file():
        raise UserError(
            f"{folder} has no {NETWORK} of a network, nor has {folder / 'unet'}; give a folder "
            "that diffusers' save_pretrained wrote, or that was downloaded whole"
        )
    settings = read_object(network)
    kind = settings.get("_class_name", "UNet2DModel")
    if kind != "UNet2DModel":
        raise UserError(f"{network}: _class_name={kind!r:.80}: only UNet2DModel can be imported")
    weights = inner / WEIGHTS
    if not weights.is_file():
        raise UserError(_why_no_weights(inner))
    places = (folder / "scheduler", folder, inner.parent / "scheduler")
    files = [place / SCHEDULER for place in places if (place / SCHEDULER).is_file()]
    scheduler = (files[0], read_object(files[0])) if files else None
    return Found(weights, (network, settings), scheduler)


def _why_no_weights(folder: Path) -> str:
    if any(folder.glob("*.safetensors.index.json")):
        return (
            f"{folder} has its weights in several files; load them in diffusers and save them with "
            'save_pretrained(..., max_shard_size="100GB")'
        )
    if any(folder.glob("*.bin")):
        return (
            f"{folder} has its weights as .bin alone, and reading those can run code; load them "
            "in diffusers and save them with save_pretrained(..., safe_serialization=True)"
        )
    return f"{folder} has no {WEIGHTS}; download it, or save it with diffusers' save_pretrained"
