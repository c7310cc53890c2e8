"""What every config starts from: all sections of a task, with the defaults of their dataclasses.

Python configs take this and change what they need; their docstring says which command runs them
and what to expect.
"""

from ml_collections import ConfigDict

from ddm_jax.config.tables import complete


def get_config(task: str = "diffusion") -> ConfigDict:
    return complete(ConfigDict({"task": task}))
