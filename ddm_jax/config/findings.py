"""What rules find in a setup."""

from typing import NamedTuple


class Finding(NamedTuple):
    """One line; a fatal one refuses the setup."""

    fatal: bool
    text: str


def wrong(text: str) -> Finding:
    return Finding(True, text)


def dangerous(text: str) -> Finding:
    return Finding(False, text)
