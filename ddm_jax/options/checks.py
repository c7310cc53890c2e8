"""What settings of several sections are held to."""

from ddm_jax.errors import UserError

MOST = 2**31  # images have numbers below it
MOST_STEPS = 1_000_000  # of a grid of times


def check_steps(name: str, steps: int) -> None:
    """ValueError for more steps, the setting `name`, than a grid of times can hold."""
    if steps > MOST_STEPS:
        raise ValueError(f"{name}={steps} must be at most {MOST_STEPS:,}")


def check_seed(name: str, seed: int) -> None:
    """UserError for a seed, the setting `name`, that is no integer of 64 bits."""
    if not -(2**63) <= seed < 2**63:
        raise UserError(f"{name}={seed} must lie below 2^63, and not below -2^63")
