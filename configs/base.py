"""What every config starts from: all sections, with the defaults of their dataclasses.

Python configs take this and change what they need; their docstring says which command runs them
and what to expect.
"""

from ml_collections import ConfigDict

from ddm_jax.config import choice, section
from ddm_jax.recipe import PARTS, TABLES

DEFAULTS = {
    "model": "unet",
    "schedule": "cosine",
    "prediction": "eps",
    "label": "timestep",
    "times": "uniform",
    "sampler": "ddim",
    "grid": "uniform",
}


def get_config() -> ConfigDict:
    config = ConfigDict({"seed": 0})
    for name, part in PARTS.items():
        config[name] = section(part)
    for name, table in TABLES.items():
        config[name] = choice(table, DEFAULTS[name])
    return config.lock()
