"""The one error that a user is meant to read, and the nearest valid name for a wrong one."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Wrong input: the message is one clear line that holds the remedy."""


def unknown(kind: str, name: str, valid: Iterable[str]) -> UserError:
    """`unknown sampler 'dim'; did you mean 'ddim'? Choose one of ddim, ddpm`."""
    valid = sorted(valid)
    near = difflib.get_close_matches(str(name), valid, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    shown = " ".join(repr(name).split())  # on one line, whatever it is
    return UserError(f"unknown {kind} {shown}; {hint}choose one of {', '.join(valid)}")


class RunError(Exception):
    """A run that had to stop, through no wrong input: one clear line, exit code 1."""
