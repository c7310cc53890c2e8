"""What settings of several sections are held to."""

from ddm_jax.errors import UserError

MOST = 2**31  # images have numbers below it
MOST_STEPS = 1_000_000  # of a grid of times


def check_steps(name: str, steps: int) -> None:
    """ValueError for more steps, the setting `name`, than a grid of times can hold."""
    if steps > MOST_STEPS:
        raise ValueError(f"{name}={steps} must be at most {MOST_STEPS:,}")


def check_whole(name: str, value: int) -> None:
    """UserError for a whole number, the setting `name`, of too many bits: a seed has 64, and what
    counts something 32.
    """
    most = 63 if name.rpartition(".")[2] == "seed" else 31
    if not -(2**most) <= value < 2**most:
        raise UserError(f"{name}={value} must lie below 2^{most}, and not below -2^{most}")
