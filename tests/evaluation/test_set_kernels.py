"""KID and MMD against sums over pairs, one by one, and what no bias means."""

import numpy as np
import pytest

from ddm_jax.evaluation.sets.base import FeatureSet
from ddm_jax.evaluation.sets.kernels import Kid, Mmd, cubic_mmd


def rows_of(seed, n, d, scale=1.0):
    return (scale * np.random.default_rng(seed).standard_normal((n, d))).astype(np.float32)


def by_pairs(x, y, kernel):
    """E k(x, x') + E k(y, y') - 2 E k(x, y) over pairs of different examples, in Python."""
    x, y = x.astype(np.float64), y.astype(np.float64)

    def mean(a, b, same):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (same and i == j)]
        return sum(kernel(a[i], b[j]) for i, j in pairs) / len(pairs)

    return mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)


def cubic(a, b):
    return (a @ b / len(a) + 1) ** 3


def kid(x, y, seed=0, **settings):
    return Kid(**settings).compare(FeatureSet(x), FeatureSet(y), seed)


def mmd(x, y, **settings):
    return Mmd(**settings).compare(FeatureSet(x), FeatureSet(y), 0)


def test_kid_is_the_sum_over_pairs_and_small_sets_are_one_subset_that_says_its_size():
    x, y = rows_of(0, 9, 5), 1 + rows_of(1, 9, 5)
    found = kid(x, y)
    assert found["kid"] == pytest.approx(by_pairs(x, y, cubic), rel=1e-10)
    assert (found["subsets"], found["subset_size"], found["deviation"]) == (1, 9, 0)
    assert kid(x, rows_of(1, 30, 5))["subset_size"] == 9
    assert kid(x, rows_of(1, 30, 5))["subsets"] == 100
    assert kid(x, y, subset_size=4)["subset_size"] == 4


def test_kid_of_sets_of_unequal_sizes():
    x, y = rows_of(2, 7, 3), 1 + rows_of(3, 11, 3)
    assert cubic_mmd(x, y) == pytest.approx(by_pairs(x, y, cubic), rel=1e-10)


@pytest.mark.parametrize(
    "measure", [cubic_mmd, lambda x, y: mmd(x, y, bandwidth=1.0)["mmd_squared"]], ids=["kid", "mmd"]
)
def test_two_sets_of_one_distribution_have_the_mean_zero_and_so_are_negative_at_times(measure):
    found = np.array([measure(rows_of(s, 10, 4), rows_of(s + 999, 14, 4)) for s in range(300)])
    assert abs(found.mean()) < 4 * found.std() / np.sqrt(len(found))
    assert 0.2 < (found < 0).mean() < 0.9


def test_subsets_without_replacement_have_the_mean_of_the_whole_sets():
    x, y = rows_of(4, 12, 3), rows_of(5, 15, 3, 2.0)
    found = kid(x, y, subsets=2000, subset_size=8)
    assert found["deviation"] > 0
    error = found["deviation"] / np.sqrt(2000)
    assert abs(found["kid"] - by_pairs(x, y, cubic)) < 4 * error
    again, other = (kid(x, y, seed=s, subsets=20, subset_size=8) for s in (7, 8))
    assert again == kid(x, y, seed=7, subsets=20, subset_size=8) != other


def test_mmd_is_the_sum_over_pairs_with_a_bandwidth_that_the_reference_decides():
    x, y = rows_of(6, 8, 4), 0.5 + rows_of(7, 11, 4, 1.5)
    wide = y.astype(np.float64)
    apart = [((a - b) ** 2).sum() for i, a in enumerate(wide) for b in wide[:i]]
    found = mmd(x, y)
    assert found["bandwidth"] == pytest.approx(np.sqrt(np.mean(apart) / 2), rel=1e-10)
    for given in (0.7, found["bandwidth"]):

        def kernel(a, b, width=given):
            return np.exp(-((a - b) ** 2).sum() / (2 * width**2))

        assert mmd(x, y, bandwidth=given)["mmd_squared"] == pytest.approx(
            by_pairs(x, y, kernel), rel=1e-9
        )
    assert mmd(x, y, bandwidth=found["bandwidth"]) == found


def test_mmd_does_not_see_units_and_far_sets_are_as_far_as_can_be():
    x, y = rows_of(8, 20, 3), 1 + rows_of(9, 20, 3)
    assert mmd(8 * x, 8 * y)["mmd_squared"] == pytest.approx(mmd(x, y)["mmd_squared"], rel=1e-9)
    points = np.zeros((5, 2), np.float32)
    found = mmd(points, points + 100, bandwidth=1.0)
    assert found["mmd_squared"] == pytest.approx(2, rel=1e-9)  # 1 + 1 - 2 * 0


def test_a_reference_of_one_example_again_and_again_has_no_bandwidth():
    with pytest.raises(ValueError, match="set the bandwidth"):
        mmd(rows_of(10, 5, 2), np.ones((5, 2), np.float32))
