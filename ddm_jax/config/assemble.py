"""ConfigDict -> Recipe, once at the door."""

import dataclasses

from ml_collections import ConfigDict

from ddm_jax.config.schema import build, part
from ddm_jax.config.tables import PARTS, TABLES
from ddm_jax.config.validate import check
from ddm_jax.data.dataset import Spec
from ddm_jax.data.pipeline import scaling_of
from ddm_jax.models import MODELS
from ddm_jax.recipe import Recipe


def assemble(config: ConfigDict, spec: Spec) -> Recipe:
    """The Recipe of a config for data of `spec`; raises UserError for what cannot work."""
    parts = {name: build(cls, part(config, name), name) for name, cls in PARTS.items()}
    rows = {
        name: build(table, part(config, name), name)
        for name, table in TABLES.items()
        if name != "model"
    }
    channels = spec.shape[-1] * (2 if rows["objective"].learns_variance else 1)
    rows["model"] = build(
        MODELS, part(config, "model"), "model", out_channels=channels, classes=len(spec.classes)
    )
    recipe = Recipe(
        spec, scaling_of(spec, parts["data"].scaling), part(config, "seed"), **parts, **rows
    )
    return dataclasses.replace(recipe, warnings=check(recipe))
