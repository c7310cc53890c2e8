"""The Frechet distance against closed forms, another root of matrices, and lower dimensions."""

import numpy as np
import pytest
import scipy.linalg

from ddm_jax.evaluation.sets import base
from ddm_jax.evaluation.sets.base import FeatureSet, Moments
from ddm_jax.evaluation.sets.frechet import Frechet, frechet_of_moments

EXACT = 1e-11


def rows_of(seed, n, d, scale=1.0):
    """Correlated rows (n, d) with a mean, in float32."""
    draw = np.random.default_rng(seed)
    mixed = draw.standard_normal((n, d)) @ draw.standard_normal((d, d)) / np.sqrt(d)
    return (scale * (mixed + draw.standard_normal(d))).astype(np.float32)


def distance(x, y):
    return Frechet().compare(FeatureSet(x), FeatureSet(y), 0)["frechet"]


def gaussian(mu, sigma):
    return Moments.from_published(np.asarray(mu), np.asarray(sigma), 100)


def rotation(seed, d):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]


def test_numbers_on_a_line_have_the_distance_of_means_and_of_deviations():
    x, y = rows_of(0, 50, 1), rows_of(1, 70, 1, 3.0)
    wide = [rows.astype(np.float64) for rows in (x, y)]
    gap, spread = (np.subtract(*(f(r) for r in wide)) for f in (np.mean, lambda r: r.std(ddof=1)))
    assert distance(x, y) == pytest.approx(gap**2 + spread**2, rel=EXACT)


@pytest.mark.parametrize("turned", [False, True])
def test_covariances_that_commute_have_the_distance_of_their_deviations(turned):
    d = 6
    a, b = np.random.default_rng(2).uniform(0.1, 4, (2, d))
    axes = rotation(3, d) if turned else np.eye(d)
    first, second = (gaussian(np.zeros(d), axes @ np.diag(v) @ axes.T) for v in (a, b))
    exact = ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_of_moments(first, second) == pytest.approx(exact, rel=EXACT)


def test_a_translation_costs_its_squared_length_and_all_of_it_is_of_the_means():
    x, step = rows_of(4, 90, 5).astype(np.float64), np.array([1.0, -2.0, 0.5, 0.0, 3.0])
    found = Frechet().compare(FeatureSet(x + step), FeatureSet(x), 0)
    assert found["of_means"] == pytest.approx((step**2).sum(), rel=EXACT)
    assert found["frechet"] == pytest.approx((step**2).sum(), rel=EXACT)


def test_it_is_the_published_formula_with_the_general_root_of_a_matrix():
    x, y = rows_of(5, 200, 12), rows_of(6, 150, 12, 1.5)
    mu1, mu2 = (rows.astype(np.float64).mean(0) for rows in (x, y))
    s1, s2 = (np.cov(rows.astype(np.float64), rowvar=False) for rows in (x, y))
    root = scipy.linalg.sqrtm(s1 @ s2).real
    exact = ((mu1 - mu2) ** 2).sum() + np.trace(s1 + s2 - 2 * root)
    assert distance(x, y) == pytest.approx(exact, rel=1e-9)
    moments = (Moments.of(x), Moments.of(y))
    assert frechet_of_moments(*moments) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("n", [12, 300], ids=["fewer rows than features", "more rows"])
def test_sets_within_one_plane_have_the_distance_that_they_have_in_its_coordinates(n):
    """The covariances of 40 features have rank 3: a rounded zero under a root would be 1e-8."""
    x, y = rows_of(7, n, 3).astype(np.float64), rows_of(8, n + 5, 3, 0.3).astype(np.float64)
    plane = rotation(9, 40)[:3]
    flat = distance(x, y)
    assert distance(x @ plane, y @ plane) == pytest.approx(flat, rel=1e-10)
    by_moments = frechet_of_moments(Moments.of(x @ plane), Moments.of(y @ plane))
    assert by_moments == pytest.approx(flat, rel=1e-10)


def test_sets_in_planes_at_right_angles_share_nothing():
    x, y, axes = rows_of(10, 20, 4), rows_of(11, 20, 4), rotation(12, 30)
    x, y = (rows - rows.mean(0, dtype=np.float64) for rows in (x, y))
    exact = sum(np.trace(np.cov(rows, rowvar=False)) for rows in (x, y))
    x, y = x @ axes[:4], y @ axes[4:8]
    assert distance(x, y) == pytest.approx(exact, rel=EXACT)
    assert frechet_of_moments(Moments.of(x), Moments.of(y)) == pytest.approx(exact, rel=EXACT)


@pytest.mark.parametrize("n", [10, 25, 26, 200])
def test_few_rows_have_the_distance_of_their_moments_and_none_from_themselves(n):
    x, y = rows_of(13, n, 25), rows_of(14, n, 25)
    a, b = Moments.of(x), Moments.of(y)
    assert distance(x, y) == pytest.approx(frechet_of_moments(a, b), rel=1e-10)
    tiny = 1e-12 * np.trace(a.covariance)
    assert 0 <= distance(x, x) < tiny and 0 <= frechet_of_moments(a, a) < tiny


def test_it_is_symmetric_does_not_see_rotations_and_grows_with_the_square_of_units():
    x, y = (rows_of(seed, 60, 8).astype(np.float64) for seed in (15, 16))
    found, turn = distance(x, y), rotation(17, 8)
    assert distance(y, x) == pytest.approx(found, rel=EXACT)
    assert distance(x @ turn, y @ turn) == pytest.approx(found, rel=EXACT)
    assert distance(3 * x, 3 * y) == pytest.approx(9 * found, rel=EXACT)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_moments_are_those_of_all_rows_however_they_are_split(offset, monkeypatch):
    rows = rows_of(18, 103, 7).astype(np.float64) + offset
    whole = Moments.of(rows)
    np.testing.assert_allclose(whole.covariance, np.cov(rows, rowvar=False), rtol=1e-9)
    np.testing.assert_allclose(whole.mean, rows.mean(0), rtol=1e-12)
    monkeypatch.setattr(base, "BLOCK", 10)
    parts = [Moments.of(rows[some]) for some in np.split(np.arange(103), [0, 1, 40, 41, 90])]
    forwards = backwards = parts[0]  # of no rows
    for part, other in zip(parts[1:], parts[:0:-1], strict=True):
        forwards, backwards = forwards.merge(part), Moments.merge(other, backwards)
    for found in (Moments.of(rows[::-1]), forwards, backwards):
        assert found.count == 103
        np.testing.assert_allclose(found.mean, whole.mean, rtol=1e-12)
        np.testing.assert_allclose(found.scatter, whole.scatter, rtol=1e-9, atol=1e-9)


def test_moments_come_back_from_a_file_of_statistics(tmp_path):
    a, b = Moments.of(rows_of(19, 40, 5)), Moments.of(rows_of(20, 30, 5))
    np.savez(tmp_path / "statistics.npz", **a.published())
    with np.load(tmp_path / "statistics.npz") as file:
        back = Moments.from_published(file["mu"], file["sigma"], int(file["count"]))
    np.testing.assert_allclose(back.merge(b).scatter, a.merge(b).scatter, rtol=1e-12)
    assert frechet_of_moments(back, a) < 1e-12
    coarse = {name: array.astype(np.float32) for name, array in a.published().items()}
    rounded = Moments.from_published(coarse["mu"], coarse["sigma"], 40)
    assert frechet_of_moments(rounded, b) == pytest.approx(frechet_of_moments(a, b), rel=1e-5)


@pytest.mark.parametrize(
    ("mu", "sigma", "count", "said"),
    [
        ([0, 0], [[1, 0]], 9, "shape"),
        ([0, 0], [[1, 0.5], [0, 1]], 9, "not symmetric"),
        ([0, np.nan], np.eye(2), 9, "not finite"),
        ([0, 0], np.full((2, 2), np.inf), 9, "not finite"),
        ([0, 0], np.eye(2), 1, "2 examples or more"),
    ],
)
def test_statistics_that_are_none_are_refused(mu, sigma, count, said):
    with pytest.raises(ValueError, match=said):
        Moments.from_published(np.asarray(mu), np.asarray(sigma), count)


def test_moments_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match="negative"):
        frechet_of_moments(gaussian([0, 0], np.diag([1, -0.1])), gaussian([0, 0], np.eye(2)))
    with pytest.raises(ValueError, match="the same network"):
        frechet_of_moments(gaussian([0], np.eye(1)), gaussian([0, 0], np.eye(2)))
    with pytest.raises(ValueError, match="take more"):
        _ = Moments.of(np.ones((1, 3))).covariance
    with pytest.raises(ValueError, match="not finite"):
        Moments.of(np.array([[1.0, np.inf]]))
