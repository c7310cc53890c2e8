"""Sliced Wasserstein distances in closed form, and against the best assignment of points."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from ddm_jax.evaluation.sets.base import FeatureSet
from ddm_jax.evaluation.sets.sliced import SlicedWasserstein, directions, squared_on_lines


def rows_of(seed, n, d):
    return np.random.default_rng(seed).standard_normal((n, d))


def distance(x, y, seed=0, **settings):
    return SlicedWasserstein(**settings).compare(FeatureSet(x), FeatureSet(y), seed)


@pytest.mark.parametrize(("n", "m"), [(7, 7), (6, 4), (5, 3), (1, 4), (12, 8)])
def test_points_of_any_two_numbers_are_assigned_at_the_least_cost(n, m):
    """n points are n m points at m to a place, which are assigned one to one."""
    x, y = rows_of(0, n, 2), rows_of(1, m, 2)
    found = squared_on_lines(x, y)
    for line in range(2):
        cost = (np.repeat(x[:, line], m)[:, None] - np.repeat(y[:, line], n)) ** 2
        assert found[line] == pytest.approx(cost[linear_sum_assignment(cost)].mean(), rel=1e-10)


def test_a_translation_costs_its_mean_square_along_the_directions():
    x, step = rows_of(2, 40, 6), np.array([3.0, -1.0, 0.0, 2.0, 0.5, 1.0])
    found = distance(x + step, x, directions=70)
    along = directions(70, 6, 0) @ step
    assert found["sliced_wasserstein"] == pytest.approx(np.sqrt((along**2).mean()), rel=1e-10)
    exact = np.linalg.norm(step) / np.sqrt(6)
    found = distance(x + step, x, directions=1000)
    assert abs(found["sliced_wasserstein"] - exact) < 4 * found["standard_error"]
    assert found["standard_error"] < 0.05 * exact


def test_directions_are_of_length_one_and_favour_none():
    drawn = directions(4000, 3, 1)
    np.testing.assert_allclose((drawn**2).sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(drawn.T @ drawn / 4000, np.eye(3) / 3, atol=0.03)
    np.testing.assert_allclose(drawn.mean(0), 0, atol=0.04)


def test_a_scaling_of_one_set_costs_its_spread_and_repeated_points_change_nothing():
    x = rows_of(3, 30, 4)
    x -= x.mean(0)
    along = directions(256, 4, 0)
    exact = np.sqrt(((x @ along.T) ** 2).mean())  # W_2 of x and 3 x is 2 |x| on every line
    assert distance(3 * x, x)["sliced_wasserstein"] == pytest.approx(2 * exact, rel=1e-10)
    many = np.repeat(x, 3, 0)
    assert distance(many, x) == {"sliced_wasserstein": 0, "standard_error": 0}


def test_it_is_a_distance():
    x, y, z = (rows_of(seed, n, 5) for seed, n in ((4, 20), (5, 33), (6, 27)))

    def far(a, b):
        return distance(a, b)["sliced_wasserstein"]

    assert far(x, y) == pytest.approx(far(y, x), rel=1e-10)
    assert far(x, z) <= far(x, y) + far(y, z)
    assert far(2 * x, 2 * y) == pytest.approx(2 * far(x, y), rel=1e-10)
    assert distance(x, y, seed=1) != distance(x, y)
