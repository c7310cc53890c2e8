"""Names of what verbs write: a head for the eye, and a digest of everything that shaped it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ddm_jax.diffusion.samplers import SAMPLERS
from ddm_jax.diffusion.samplers.timesteps import TIMESTEPS
from ddm_jax.recipe import Recipe

# Of the `sample` section: what changes no image, and `evaluations`, from which the steps follow.
_SHAPES_NO_IMAGE = ("count", "batch", "film", "evaluations")


def drawing(recipe: Recipe) -> dict[str, Any]:
    """What shapes an image beside the weights and its index: sampler, timesteps and `sample`."""
    options = {k: v for k, v in asdict(recipe.sample).items() if k not in _SHAPES_NO_IMAGE}
    return {
        "sampler": _chosen(SAMPLERS, recipe.sampler),
        "timesteps": _chosen(TIMESTEPS, recipe.timesteps),
        "sample": {**options, "steps": recipe.grid_steps},
    }


def samples(recipe: Recipe) -> dict[str, Any]:
    """What shapes the samples of a run beside its weights."""
    return {**drawing(recipe), "count": recipe.sample.count}


def drawn_as(recipe: Recipe) -> str:
    """The head of the names of drawn images: `ddim_50_seed_0`."""
    sampler = drawing(recipe)["sampler"]["name"]
    return f"{sampler}_{recipe.grid_steps}_seed_{recipe.sample.seed}"


def digest(settings: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of the sha256 of settings, whatever their order."""
    return hashlib.sha256(as_text(settings).encode()).hexdigest()[:8]


def as_text(settings: Mapping[str, Any]) -> str:
    """Settings as one line of JSON, sorted by key."""
    return json.dumps(settings, sort_keys=True)


def _chosen(table: Mapping[str, type], row: Any) -> dict[str, Any]:
    name = next(name for name, cls in table.items() if cls is type(row))
    return {"name": name, **asdict(row)}
