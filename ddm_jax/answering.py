"""How a program of the command line ends: errors that a user can mend are one line on stderr."""

import argparse
import math
import os
import sys
from collections.abc import Callable
from typing import NoReturn

import absl.logging

from ddm_jax.errors import PeerLost, RunError, UserError, in_line, of_the_system
from ddm_jax.interrupts import INTERRUPTED
from ddm_jax.output import forget_output
from ddm_jax.training.watchdog import STALLED


class Parser(argparse.ArgumentParser):
    """One whose help is `description` as it is written, and whose errors are UserError."""

    def __init__(self, description: str | None):
        shown = argparse.RawDescriptionHelpFormatter
        super().__init__(description=description, formatter_class=shown, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (--help shows the command line)")


def count(text: str) -> int:
    """A whole number from 1 on, as the type of an argument."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def above_zero(text: str) -> float:
    """A finite number above 0, as the type of an argument."""
    number, *others = numbers(text)
    if number <= 0 or others:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def numbers(text: str) -> list[float]:
    """Finite numbers with commas between them, as the type of an argument."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = [math.nan]
    if not all(map(math.isfinite, found)):
        raise argparse.ArgumentTypeError(f"{text!r} is not made of finite numbers")
    return found


def answered(work: Callable[[], int | None]) -> int:
    """Do `work`; the exit code that it returns, or that of its error."""
    absl.logging.set_verbosity(absl.logging.FATAL)  # what fails is raised, and told once
    try:
        with of_the_system():
            return work() or 0
    except UserError as error:
        print(f"error: {in_line(str(error))}", file=sys.stderr)
        return 2
    except PeerLost as error:
        print(f"stopped: {in_line(str(error))}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(STALLED)  # the end of an interpreter waits for all processes
    except RunError as error:
        print(f"stopped: {in_line(str(error))}", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"error: there is not the memory for this, {error}; ask for less", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        forget_output()
        return 1
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        return INTERRUPTED
