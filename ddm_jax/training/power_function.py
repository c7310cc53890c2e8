"""Power-function averages of a run's weights, and any of them from a few that were kept.

The average of length `std` after step n gives step i the share of the profile
p(t) = (g + 1) t^g / n^(g + 1) between i - 1 and i. `std`, the standard deviation of the profile in
units of the run, follows from the exponent g and the other way round. Karras et al. 2023 (EDM2),
arXiv:2312.02696, section 3.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LONGEST = 0.28  # sqrt(1/12) = 0.2887, the plain mean of all weights, has the exponent 0
_SMALLEST = 1e-10  # singular values below this share of the largest are rounding


class Profile(NamedTuple):
    """An average of length `std` as it stood after `step` steps."""

    std: float
    step: int


def exponent(std: float) -> float:
    """g > 0 with std^2 = (g + 1) / ((g + 2)^2 (g + 3)), a root of a cubic.

    ValueError for a std that is not in (0, LONGEST].
    """
    if not 0 < std <= LONGEST:
        raise ValueError(f"lengths lie in (0, {LONGEST}] of the run, not {std}")
    inverse = std**-2
    roots = np.roots([1.0, 7.0, 16.0 - inverse, 12.0 - inverse])
    return float(roots.real.max())


def overlap(a: Profile, b: Profile) -> float:
    """The integral of p_a p_b over p_a's and p_b's norms: 1 for equal profiles.

    With m the earlier of the steps s_a and s_b the integral of p_a p_b is
    (g_a + 1) (g_b + 1) m^(g_a + g_b + 1) / ((g_a + g_b + 1) s_a^(g_a + 1) s_b^(g_b + 1)).
    """
    g_a, g_b = exponent(a.std), exponent(b.std)
    first = min(a.step, b.step)
    between = (g_a + 0.5) * np.log(first / a.step) + (g_b + 0.5) * np.log(first / b.step)
    norms = 0.5 * (np.log(2 * g_a + 1) + np.log(2 * g_b + 1))
    return float(np.exp(between + norms) / (g_a + g_b + 1))


class Mixture(NamedTuple):
    """shares: of each of the profiles kept, with the sum 1; error: the norm of what their sum
    misses of the profile wanted, relative to it.
    """

    shares: np.ndarray
    error: float


def mixture(kept: Sequence[Profile], wanted: Profile) -> Mixture:
    """The shares of profiles `kept` whose sum is nearest to the profile `wanted`, in least squares.

    Unlike the published ones the shares have the sum 1, so that weights that do not move are
    reproduced however few profiles there are. Karras et al. 2023, arXiv:2312.02696, appendix C.2.
    """
    count = len(kept)
    gram = np.array([[overlap(a, b) for b in kept] for a in kept])
    aim = np.array([overlap(a, wanted) for a in kept])
    # Unknowns are shares times norms of profiles, relative to that of the profile wanted.
    norm = np.array([_norm(wanted) / _norm(a) for a in kept])
    system = np.block([[gram, norm[:, None]], [norm[None], np.zeros((1, 1))]])
    found = np.linalg.lstsq(system, np.append(aim, 1.0), rcond=_SMALLEST)[0][:count]
    square = 1 - 2 * found @ aim + found @ gram @ found
    return Mixture(found * norm, float(np.sqrt(max(square, 0.0))))


def _norm(profile: Profile) -> float:
    """sqrt of the integral of p^2: (g + 1) / sqrt((2 g + 1) n)."""
    g = exponent(profile.std)
    return (g + 1) / np.sqrt((2 * g + 1) * profile.step)
