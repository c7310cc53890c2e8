"""What rules find in a setup."""

from typing import NamedTuple

import numpy as np

T = np.linspace(0, 1, 101, dtype=np.float32)  # the times at which rules look at a model


class Finding(NamedTuple):
    """One line; a fatal one refuses the setup."""

    fatal: bool
    text: str


def wrong(text: str) -> Finding:
    return Finding(True, text)


def dangerous(text: str) -> Finding:
    return Finding(False, text)
