"""Standard output, where nobody may be reading it."""

import os
import sys


def forget_output() -> None:
    """Let what is written to standard output go nowhere, since nobody reads it any longer."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
