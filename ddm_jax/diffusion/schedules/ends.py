"""What a schedule must be at its ends: finite, and no steeper than times in float32 can follow."""

import numpy as np

_FINEST = 2.0**-24  # the distance from 1 to the float32 below it
_GRID = 5000  # a step of this part of the range must be left to grids even in log-SNR or in sigma
_LOWEST = -85.0  # log-SNR below which alpha^2 is no longer a normal float32


def check_range(low: float, high: float) -> None:
    """ValueError unless low < high."""
    if not low < high:
        raise ValueError(f"min_logsnr={low} must be below max_logsnr={high}")


def check_signal(logsnr: float) -> None:
    """ValueError where the signal at the noisy end is too small for float32."""
    if not logsnr > _LOWEST:
        raise ValueError(
            f"log-SNR falls to {logsnr:.4g} at t = 1, and below {_LOWEST:g} the signal is lost in "
            "float32; end with more signal, by smaller betas, fewer steps or a higher minimum"
        )


def check_noisy_end(gain: float, rest: float, span: float) -> None:
    """ValueError where log-SNR falls too steeply at t = 1 for float32 times to follow.

    Near t = 1 log-SNR is gain log(rest + (1 - t)) and a constant; span is its range. Between 1 and
    the time before it log-SNR may change by span / 5000, so that grids of 1,000 times, which are
    even in log-SNR or in a root of sigma, hold no time twice.
    """
    lift = 0.0
    for _ in range(3):  # a higher end makes the range smaller, which asks for a little more
        finest = _FINEST / np.expm1((span - lift) / _GRID / gain)
        lift = max(0.0, gain * float(np.log(finest / rest)))
    if lift:
        raise ValueError(
            f"log-SNR falls too steeply at t = 1 for float32 times; end {lift + 0.05:.1f} higher "
            "in log-SNR, with more signal left"
        )
