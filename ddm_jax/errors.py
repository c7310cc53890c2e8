"""The errors that a user is meant to read, and the nearest valid name for a wrong one.

They are told apart by class, never by text.
"""

import difflib
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


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


# What the system may say of a path, whatever it was to be used for, and of a disk.
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP)
FAILING = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
MEND = "make room or mend the disk, and give the same command again"


@contextmanager
def of_the_system() -> Iterator[None]:
    """What the system refuses is UserError; a disk that is full or fails, RunError."""
    try:
        yield
    except OSError as error:
        where = f"{str(error.filename)[:60]!r}" if error.filename else "a file"
        if error.errno in REFUSED:
            raise UserError(f"{where}: {error.strerror}; take another place") from error
        if error.errno in FAILING:
            raise RunError(f"{where}: {error.strerror}; {MEND}") from error
        raise


def in_line(text: str) -> str:
    """`text` in one line that no terminal obeys: what cannot be printed as Python writes it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
