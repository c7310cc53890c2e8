"""Laws of every row of the table: any order of rows, refusals, and numbers with lines."""

import numpy as np
import pytest

from ddm_jax.evaluation.sets import SET_METRICS, base, pairs, sliced
from ddm_jax.evaluation.sets.base import FeatureSet, in_fixed_order
from ddm_jax.evaluation.sets.classes import Score
from ddm_jax.evaluation.sets.kernels import Kid, Mmd
from ddm_jax.evaluation.sets.neighbours import DensityCoverage, PrecisionRecall
from ddm_jax.evaluation.sets.sliced import SlicedWasserstein

ROWS = pytest.mark.parametrize("name", SET_METRICS)
OF_SAMPLES = ("score", "agreement")  # which ask the samples alone
SMALL = SET_METRICS | {"kid": Kid(10, 20)}  # whose subsets are less than the sets


def set_of(seed, n, d=6):
    draw = np.random.default_rng(seed)
    features = draw.standard_normal((n, d)).astype(np.float32) + np.float32(0.1 * seed)
    log_probs = np.log(draw.dirichlet(np.full(4, 0.5), n)).astype(np.float32)
    return FeatureSet(features, log_probs, draw.integers(0, 4, n).astype(np.int32))


def taken(of, places):
    return FeatureSet(*(column[places] for column in of))


SAMPLES, REFERENCE = set_of(1, 40), set_of(2, 55)


@ROWS
def test_rows_may_come_in_any_order_and_in_blocks_of_any_size(name, monkeypatch):
    found = SMALL[name].compare(SAMPLES, REFERENCE, 3)
    monkeypatch.setattr(base, "BLOCK", 7)
    monkeypatch.setattr(pairs, "PAIRS", 130)
    monkeypatch.setattr(sliced, "LINES", 5)
    draw = np.random.default_rng(0)
    mixed = [taken(of, draw.permutation(len(of.features))) for of in (SAMPLES, REFERENCE)]
    assert SMALL[name].compare(*mixed, 3) == pytest.approx(found, rel=1e-9, abs=1e-12)


@ROWS
def test_numbers_are_plain_and_their_lines_show_the_headline(name):
    found = SET_METRICS[name].compare(SAMPLES, REFERENCE, 0)
    assert all(type(value) is float and np.isfinite(value) for value in found.values())
    lines = SET_METRICS[name].lines(found)
    assert 1 <= len(lines) <= 2
    headline = next(iter(found.values()))
    assert f"{headline:.4f}" in lines[0] or f"{headline:.6f}" in lines[0]


@ROWS
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_values_that_are_not_finite_are_refused(name, value, place):
    sets = [SAMPLES, REFERENCE]
    features, log_probs = sets[place].features.copy(), sets[place].log_probs.copy()
    features[5, 2] = log_probs[5, 2] = value
    sets[place] = sets[place]._replace(features=features, log_probs=log_probs)
    if name in OF_SAMPLES and place == 1:
        assert SET_METRICS[name].compare(*sets, 0) == SET_METRICS[name].compare(
            SAMPLES, REFERENCE, 0
        )
        return
    with pytest.raises(ValueError, match="diverged"):
        SET_METRICS[name].compare(*sets, 0)


@ROWS
def test_sets_that_are_too_small_are_refused_with_the_remedy(name):
    none = np.arange(0)
    with pytest.raises(ValueError, match="take more"):
        SET_METRICS[name].compare(taken(SAMPLES, none), taken(REFERENCE, none), 0)


@pytest.mark.parametrize("name", [n for n, row in SET_METRICS.items() if not row.of_classes])
def test_sets_read_by_two_networks_are_refused_and_classes_are_not_needed(name):
    row = SET_METRICS[name]
    with pytest.raises(ValueError, match="the same network"):
        row.compare(SAMPLES, set_of(2, 55, 5), 0)
    with pytest.raises(ValueError, match="rows"):
        row.compare(SAMPLES._replace(features=np.zeros((40, 2, 3), np.float32)), REFERENCE, 0)
    plain = [FeatureSet(of.features) for of in (SAMPLES, REFERENCE)]
    assert row.compare(*plain, 0) == row.compare(SAMPLES, REFERENCE, 0)


@pytest.mark.parametrize(
    ("row", "least"), [("kid", 2), ("frechet", 2), ("precision_recall", 4), ("density_coverage", 6)]
)
def test_the_least_number_of_examples(row, least):
    SET_METRICS[row].compare(set_of(1, least), set_of(2, least), 0)
    for sizes in ((least - 1, 20), (20, least - 1)):
        with pytest.raises(ValueError, match=f"are {least - 1} and {least} are needed: take more"):
            SET_METRICS[row].compare(set_of(1, sizes[0]), set_of(2, sizes[1]), 0)


def test_the_fixed_order_holds_the_same_rows_and_tells_no_zero_from_another():
    rows = np.random.default_rng(4).integers(-1, 2, (50, 3)).astype(np.float32)
    found = in_fixed_order(rows)
    assert sorted(map(tuple, found)) == sorted(map(tuple, rows))
    negative = np.where(rows == 0, np.float32(-0.0), rows)[::-1]
    assert in_fixed_order(negative).tobytes() == found.tobytes()


@pytest.mark.parametrize(
    "build",
    [
        lambda: Kid(subsets=0),
        lambda: Kid(subset_size=1),
        lambda: Mmd(bandwidth=-1.0),
        lambda: Score(splits=0),
        lambda: PrecisionRecall(k=0),
        lambda: DensityCoverage(k=0),
        lambda: SlicedWasserstein(directions=1),
    ],
)
def test_settings_that_mean_nothing_are_refused(build):
    with pytest.raises(ValueError, match="needs"):
        build()
