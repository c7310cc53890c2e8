"""Who may write a run's folder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ddm_jax.errors import UserError


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Hold the folder for training; the system lets go of it however the process ends.

    A UserError before anything else is written takes the folder away again that it made.
    """
    made = not workdir.exists()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / ".lock").open("w")
    except OSError as error:
        raise UserError(f"cannot write to {workdir}: {error.strerror}; give --workdir") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"another process trains in {workdir}; wait for it, or give another --workdir"
            ) from None
        try:
            yield
        except UserError:
            if made and [entry.name for entry in workdir.iterdir()] == [".lock"]:
                (workdir / ".lock").unlink()
                workdir.rmdir()
            raise


def busy(workdir: Path) -> bool:
    """Whether a process holds the folder for training."""
    try:
        with (workdir / ".lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
