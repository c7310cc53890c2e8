"""Precision, recall, density and coverage of sets whose answer is known, and one by one."""

import numpy as np
import pytest

from ddm_jax.evaluation.sets import pairs
from ddm_jax.evaluation.sets.base import FeatureSet
from ddm_jax.evaluation.sets.neighbours import DensityCoverage, PrecisionRecall


def cluster(seed, n, centre, d=3):
    rows = np.random.default_rng(seed).standard_normal((n, d)) + centre
    return rows.astype(np.float32)


def measured(samples, reference, k=None):
    settings = {} if k is None else {"k": k}
    sets = FeatureSet(samples), FeatureSet(reference)
    rows = PrecisionRecall(**settings), DensityCoverage(**settings)
    return {name: v for row in rows for name, v in row.compare(*sets, 0).items()}


def one_by_one(samples, reference, k):
    """The definitions of the two papers, in Python."""
    samples, reference = samples.astype(np.float64), reference.astype(np.float64)

    def radius(rows, i):
        return sorted(np.linalg.norm(rows[i] - rows[j]) for j in range(len(rows)) if j != i)[k - 1]

    real = [radius(reference, i) for i in range(len(reference))]
    drawn = [radius(samples, j) for j in range(len(samples))]
    far = [[np.linalg.norm(r - s) for s in samples] for r in reference]
    pairs_ = [(i, j) for i in range(len(reference)) for j in range(len(samples))]
    within = [(i, j) for i, j in pairs_ if far[i][j] <= real[i]]
    return {
        "precision": len({j for _, j in within}) / len(samples),
        "recall": len({i for i, j in pairs_ if far[i][j] <= drawn[j]}) / len(reference),
        "density": len(within) / (k * len(samples)),
        "coverage": len({i for i, _ in within}) / len(reference),
    }


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("pairs_at_once", [1, 100, 2**22])
def test_they_are_the_definitions_however_many_pairs_are_held(k, pairs_at_once, monkeypatch):
    monkeypatch.setattr(pairs, "PAIRS", pairs_at_once)
    samples, reference = cluster(0, 23, 0.8), cluster(1, 31, 0.0)
    found = measured(samples, reference, k)
    assert found == pytest.approx(one_by_one(samples, reference, k), abs=1e-12)
    assert 0.1 < found["coverage"] < 0.9 and 0.1 < found["recall"] < 0.9


def test_a_set_and_itself_have_all_of_each_other_and_far_sets_nothing():
    rows = cluster(2, 60, 0.0)
    found = measured(rows, rows)
    assert (found["precision"], found["recall"], found["coverage"]) == (1, 1, 1)
    assert found["density"] >= 1
    assert set(measured(rows, rows + 1000).values()) == {0.0}


@pytest.mark.parametrize("count", [12, 50])
def test_points_on_a_circle_count_at_the_edge_of_a_ball(count):
    """Each has two neighbours just as far away, of which rounding would choose one for k = 1."""
    angles = 2 * np.pi * np.arange(count) / count
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    assert measured(circle, circle, 1)["density"] == 3  # itself and both
    assert measured(circle, circle, 2)["density"] == 3 / 2


@pytest.mark.parametrize("centre", [0.0, 10.0])
def test_copies_hold_what_is_the_same_and_nothing_else(centre):
    """The ball around an example that comes more than k times has no width, and is closed."""
    rows = cluster(3, 40, centre, 61)
    copies = np.repeat(rows, 8, 0)
    assert measured(rows, copies)["precision"] == 1
    assert measured(rows, copies)["coverage"] == 1
    assert measured(rows + np.float32(0.01), copies)["precision"] == 0


def test_a_mode_that_is_dropped_costs_recall_and_coverage_alone():
    reference = np.concatenate([cluster(4, 100, 0.0), cluster(5, 100, 50.0)])
    both = np.concatenate([cluster(6, 100, 0.0), cluster(7, 100, 50.0)])
    one = cluster(8, 200, 0.0)
    before, after = measured(both, reference), measured(one, reference)
    assert after["precision"] > before["precision"] - 0.05 and before["precision"] > 0.85
    assert after["density"] > before["density"] - 0.1
    assert after["recall"] < 0.5 < 0.8 < before["recall"]
    assert after["coverage"] < 0.55 < 0.9 < before["coverage"]


def test_outliers_cost_precision_and_density_alone():
    reference, good = cluster(9, 200, 0.0), cluster(10, 100, 0.0)
    far = 1000 * np.arange(1, 101, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    before, after = measured(good, reference), measured(np.concatenate([good, far]), reference)
    assert after["precision"] == before["precision"] / 2
    assert after["density"] == before["density"] / 2
    assert after["coverage"] == before["coverage"]
    # The ball around an outlier reaches 3 outliers, and the nearest ones those in the middle.
    assert after["recall"] >= before["recall"]


def test_an_outlier_of_the_reference_fools_precision_more_than_density():
    """Naeem et al. 2020, section 3: its ball is wide, and a sample needs but one ball."""
    reference = np.concatenate([cluster(11, 200, 0.0), np.full((1, 3), 30, np.float32)])
    strange = cluster(12, 100, 12.0)
    found = measured(strange, reference)
    assert found["precision"] == 1 and found["density"] <= 0.2 + 1e-12


@pytest.mark.parametrize("k", [3, 5])
def test_parity_with_the_package_of_naeem_et_al(k):
    prdc = pytest.importorskip("prdc", reason="needs the extra parity")
    samples, reference = cluster(13, 150, 0.5, 6), cluster(14, 200, 0.0, 6)
    theirs = prdc.compute_prdc(reference.astype(np.float64), samples.astype(np.float64), k)
    assert measured(samples, reference, k) == pytest.approx(theirs, abs=1e-12)
