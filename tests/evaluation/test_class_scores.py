"""The score of classes by what information it is, and whether samples are what was asked."""

import numpy as np
import pytest
from scipy.stats import entropy

from ddm_jax.evaluation.sets.base import FeatureSet
from ddm_jax.evaluation.sets.classes import Agreement, ClassShares, Score

NOTHING = FeatureSet(np.zeros((0, 1), np.float32))


def set_of(probs, asked=None):
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.asarray(probs)).astype(np.float32)
    return FeatureSet(np.zeros((len(log_probs), 1), np.float32), log_probs, asked)


def score(probs, seed=0, **settings):
    return Score(**settings).compare(set_of(probs), NOTHING, seed)


def test_one_answer_to_everything_scores_one():
    for answer in ([0.2, 0.5, 0.3], [0.0, 1.0, 0.0]):
        found = score([answer] * 40)
        assert found["score"] == pytest.approx(1, abs=1e-6)
        assert found["deviation"] == pytest.approx(0, abs=1e-6)


def test_clear_answers_of_all_classes_score_their_number():
    found = score(np.tile(np.eye(5), (4, 1)), splits=1)
    assert found["score"] == pytest.approx(5, rel=1e-6)
    found = score(np.tile(np.eye(5)[:3], (4, 1)), splits=1)  # two of the five never come
    assert found["score"] == pytest.approx(3, rel=1e-6)


def test_it_is_the_information_that_a_sample_has_of_its_class():
    """log score = H(E p) - E H(p), of two even answers log 2 - H."""
    probs = np.random.default_rng(0).dirichlet(np.full(6, 0.3), 50)
    exact = np.exp(entropy(probs.mean(0)) - entropy(probs.T).mean())
    assert score(probs, splits=1)["score"] == pytest.approx(exact, rel=1e-5)
    even = [[0.9, 0.1], [0.1, 0.9]]
    assert score(even, splits=1)["score"] == pytest.approx(2 / np.exp(entropy(even[0])), rel=1e-6)


def test_splits_are_dealt_by_the_seed_and_have_a_mean_and_a_deviation():
    probs = np.random.default_rng(1).dirichlet(np.full(4, 0.3), 43)
    found = score(probs)
    assert found == score(probs) != score(probs, seed=1)
    assert found["deviation"] > 0
    # The mean of a part is nearer to its own answers than the mean of all is.
    assert 1 < found["score"] < score(probs, splits=1)["score"]
    by_class = np.repeat(np.eye(2), 50, 0)  # parts in this order would have one class each
    assert score(by_class)["score"] > 1.7


def test_agreement_is_a_share_with_the_error_of_a_share():
    probs = np.eye(4)[[0, 1, 2, 3, 0, 1, 2, 3]] * 0.6 + 0.1
    asked = np.array([0, 1, 2, 3, 0, 1, 3, 2], np.int32)
    found = Agreement().compare(set_of(probs, asked), NOTHING, 0)
    assert found["agreement"] == 0.75
    assert found["standard_error"] == pytest.approx(np.sqrt(0.75 * 0.25 / 7))


def of_classes(*counts):
    """Examples of which so many are of each class, and sure of it."""
    return set_of(np.repeat(np.eye(len(counts)), counts, 0))


def test_shares_of_classes_are_compared_as_they_are_counted():
    """Shares (1/2, 1/4, 1/4, 0) beside (2/5, 2/5, 1/5, 0); one class too few and one too many."""
    row = ClassShares()
    found = row.compare(of_classes(4, 2, 2, 0), of_classes(2, 2, 1, 0), 0)
    assert found["total_variation"] == pytest.approx(0.15)
    assert found["largest"] == pytest.approx(0.375)  # 0.25 in place of 0.4
    assert (found["missing"], found["classes"]) == (0, 3)
    found = row.compare(of_classes(3, 0, 0, 1), of_classes(2, 2, 0, 0), 0)
    assert found["total_variation"] == pytest.approx((0.25 + 0.5 + 0.25) / 2)
    assert (found["largest"], found["missing"], found["classes"]) == (1, 1, 2)
    same = row.compare(of_classes(30, 10), of_classes(3, 1), 0)
    assert (same["total_variation"], same["largest"]) == (0, 0)
    assert row.lines(found) == [
        "class shares differ by 0.5000, one by 100.0% of its own; 1 of 2 classes are missing"
    ]


@pytest.mark.parametrize(
    ("row", "samples", "said"),
    [
        (Score(), set_of([[0.5, 0.5]] * 19), "fewer splits"),
        (Score(), set_of([[0.5, 0.6]] * 40), "sum to one"),
        (Score(), set_of([[0.5, np.nan]] * 40), "no numbers"),
        (Score(), NOTHING, "tell no classes"),
        (Agreement(), NOTHING, "tell no classes"),
        (ClassShares(), of_classes(2, 2), "tell no classes"),
        (Agreement(), set_of([[0.5, 0.5]]), "asked to be nothing"),
        (Agreement(), set_of([[0.5, 0.5]], np.array([2])), "same classes"),
        (Agreement(), set_of([[0.5, 0.5]], np.array([-1])), "same classes"),
        (Agreement(), set_of([[0.5, 0.5]], np.array([0, 1])), "same classes"),
        (Agreement(), set_of(np.zeros((0, 2)), np.zeros(0, int)), "more than none"),
    ],
)
def test_samples_that_cannot_be_judged_are_refused(row, samples, said):
    with pytest.raises(ValueError, match=said):
        row.compare(samples, NOTHING, 0)


def test_shares_read_by_two_networks_are_refused():
    with pytest.raises(ValueError, match="the same network"):
        ClassShares().compare(of_classes(2, 2), of_classes(1, 2, 3), 0)
