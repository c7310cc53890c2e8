"""Random numbers by counting: a pure function of (seed, stream, index), with no state to save."""

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(z: np.ndarray) -> np.ndarray:
    """The SplitMix64 finaliser (Steele et al. 2014, doi:10.1145/2714064.2660195)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(seed: int, stream: int, index: np.ndarray) -> np.ndarray:
    """U[0, 1) numbers, float64, one for each index; streams of one seed are independent."""
    with np.errstate(over="ignore"):
        start = _mix(np.array([seed], np.uint64) * _GOLDEN + np.uint64(stream))
        z = _mix(start + (np.asarray(index).astype(np.uint64) + np.uint64(1)) * _GOLDEN)
    return (z >> np.uint64(11)) * 2.0**-53
