"""Names of what verbs write: a head for the eye, and a digest of everything that shaped it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ddm_jax.tasks.diffusion import Diffusion
from ddm_jax.tasks.generator import Generator
from ddm_jax.training.weights import digest_of
from ddm_jax.verbs.opened import Origins

# Of the `sample` section: what changes no image, and `evaluations`, from which the steps follow.
_SHAPES_NO_IMAGE = ("count", "batch", "film", "evaluations")


def drawing(generator: Generator, origins: Origins) -> dict[str, Any]:
    """What shapes an image beside the weights and its index.

    Sampler, timesteps, guidance and `sample`; a borrowed run by its weights, and files that are
    asked for by what they hold, wherever they lie.
    """
    options = {k: v for k, v in asdict(generator.options).items() if k not in _SHAPES_NO_IMAGE}
    guidance = chosen("guidance", generator.guidance)
    asks = generator.guidance.asks
    if asks and asks in origins:
        guidance["run"] = origins[asks]
    condition = generator.model.condition
    shown: dict[str, Any] = {}
    if condition.sampling:
        shown["condition"] = {**condition.sampling}
    if condition.file:
        texts = [*generator.requested, *filter(None, [generator.options.avoid])]
        shown["pictures"] = digest_of(condition.ask(texts))
    return {
        **shown,
        "sampler": chosen("sampler", generator.sampler),
        "timesteps": chosen("timesteps", generator.timesteps),
        "guidance": guidance,
        "sample": {**options, "steps": generator.grid_steps},
    }


def samples(generator: Generator, origins: Origins) -> dict[str, Any]:
    """What shapes the samples of a run beside its weights."""
    return {**drawing(generator, origins), "count": generator.options.count}


def drawn_as(generator: Generator) -> str:
    """The head of the names of drawn images: `ddim_50_seed_0`."""
    sampler = chosen("sampler", generator.sampler)["name"]
    return f"{sampler}_{generator.grid_steps}_seed_{generator.options.seed}"


def digest(settings: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of the sha256 of settings, whatever their order."""
    return hashlib.sha256(as_text(settings).encode()).hexdigest()[:8]


def digest_of_arrays(tree: Any) -> str:
    """Sixteen hexadecimal digits of the sha256 of a tree's arrays and their places."""
    return digest_of(tree)[:16]


def as_text(settings: Mapping[str, Any]) -> str:
    """Settings as one line of JSON, sorted by key."""
    return json.dumps(settings, sort_keys=True)


def chosen(section: str, row: Any) -> dict[str, Any]:
    """The row of a choice with its settings, `{"name": "ddim", "eta": 0.0}`."""
    table = Diffusion.tables[section]
    name = next(name for name, cls in table.items() if cls is type(row))
    return {"name": name, **asdict(row)}
