"""The errors that a user is meant to read, and the nearest valid name for a wrong one.

They are told apart by class, never by text.
"""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Wrong input: the message is one clear line that holds the remedy; exit code 2."""


def unknown(kind: str, name: str, valid: Iterable[str]) -> UserError:
    """`unknown sampler 'dim'; did you mean 'ddim'? choose one of ddim, ddpm`, to be raised."""
    valid = sorted(valid)
    near = difflib.get_close_matches(str(name), valid, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    shown = " ".join(repr(name).split())  # on one line, whatever it is
    return UserError(f"unknown {kind} {shown}; {hint}choose one of {', '.join(valid)}")


class RunError(Exception):
    """What had to stop, though the input was right: one clear line; exit code 1."""


class PeerLost(RunError):
    """Another process of the run has gone; this one ends without waiting for it, exit code 75."""


def in_line(text: str) -> str:
    """`text` in one line that no terminal obeys: what cannot be printed as Python writes it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
