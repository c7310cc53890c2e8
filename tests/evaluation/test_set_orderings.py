"""Digits that are harmed more are told to be worse, by each number that must see the harm.

The reference and the samples are two halves of the digits of scikit-learn, seen as their pixels
and as a random rectified projection; their classes are told by the nearest mean of a class.
"""

import functools

import numpy as np
import pytest
from sklearn.datasets import load_digits

from ddm_jax.evaluation.sets import SET_METRICS
from ddm_jax.evaluation.sets.base import FeatureSet
from ddm_jax.evaluation.sets.kernels import Kid
from ddm_jax.evaluation.sets.sliced import SlicedWasserstein

COUNT = 400
ROWS = SET_METRICS | {"kid": Kid(5, 250), "sliced_wasserstein": SlicedWasserstein(64)}

# The harms that a number must see, and which way it then goes.
ALL = ("blurred", "noisy", "shifted", "dropped", "copied")
SEES = {
    "frechet": (+1, ALL),
    "mmd_squared": (+1, ALL),
    "sliced_wasserstein": (+1, ALL),
    # Its kernel reads moments up to the third, which even noise on every pixel hardly moves.
    "kid": (+1, ("blurred", "shifted", "dropped", "copied")),
    # What is left or copied is as good as before.
    "precision": (-1, ("noisy", "shifted")),
    "density": (-1, ("noisy", "shifted")),
    # Noise widens the balls of samples, which then hold more of the reference.
    "recall": (-1, ("blurred", "shifted", "dropped", "copied")),
    "coverage": (-1, ALL),
    # A classifier that noise does not unsettle has no less to say of noisy samples.
    "score": (-1, ("blurred", "shifted", "dropped", "copied")),
    "agreement": (-1, ("blurred", "noisy", "shifted")),
    "total_variation": (+1, ("shifted", "dropped", "copied")),
}


@functools.cache
def digits():
    """(images, labels) of the reference and of the samples."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))[: 2 * COUNT]
    images = images[order].astype(np.float32).reshape(-1, 8, 8)
    return [(images[at], labels[order][at]) for at in (slice(COUNT), slice(COUNT, None))]


def seen(images, labels, projected):
    """The FeatureSet of images (n, 8, 8)."""
    reference, classes = digits()[0]
    means = np.stack([reference[classes == c].mean(0).ravel() for c in range(10)])
    pixels = images.reshape(len(images), -1)
    logits = -((pixels[:, None] - means) ** 2).sum(-1) / 40
    logits -= logits.max(1, keepdims=True)
    log_probs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    axes = np.random.default_rng(1).standard_normal((64, 32)).astype(np.float32) / 8
    features = np.maximum(pixels @ axes, 0) if projected else pixels
    return FeatureSet(features, log_probs, labels.astype(np.int32))


def blurred(images, times):
    for _ in range(times):
        wide = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
        around = wide[:, :-2, 1:-1] + wide[:, 2:, 1:-1] + wide[:, 1:-1, :-2] + wide[:, 1:-1, 2:]
        images = (around + 4 * images) / 8
    return images


def noisy(images, scale):
    drawn = np.random.default_rng(2).standard_normal(images.shape)
    return images + np.float32(scale) * drawn.astype(np.float32)


@functools.cache
def harmed(projected):
    """{harm: sets from none of it to much}."""
    images, labels = digits()[1]

    def given(changed, kept=slice(None)):
        return seen(changed[kept], labels[kept], projected)

    def copied(kept):
        return given(images, np.arange(COUNT) % kept)

    return {
        "blurred": [given(blurred(images, times)) for times in (0, 1, 4)],
        "noisy": [given(noisy(images, scale)) for scale in (0, 3, 8)],
        "shifted": [given(np.roll(images, cells, 2)) for cells in (0, 1, 2)],
        "dropped": [given(images, labels < kept) for kept in (10, 6, 2)],
        "copied": [copied(kept) for kept in (COUNT, 100, 12)],
    }


@functools.cache
def numbers(projected, row, harm):
    reference = seen(*digits()[0], projected)
    return [ROWS[row].compare(of, reference, 0) for of in harmed(projected)[harm]]


NAMES = {
    "precision_recall": ("precision", "recall"),
    "density_coverage": ("density", "coverage"),
    "mmd": ("mmd_squared",),
    "class_shares": ("total_variation",),
}


@pytest.mark.parametrize("projected", [False, True], ids=["pixels", "projection"])
@pytest.mark.parametrize(
    ("row", "number"), [(row, n) for row in SET_METRICS for n in NAMES.get(row, (row,))]
)
def test_more_harm_is_worse(row, number, projected):
    way, harms = SEES[number]
    found = {h: [way * one[number] for one in numbers(projected, row, h)] for h in harms}
    wrong = {harm: one for harm, one in found.items() if not one[0] < one[1] <= one[2]}
    assert not wrong


@pytest.mark.parametrize("projected", [False, True], ids=["pixels", "projection"])
def test_what_leaves_samples_as_good_leaves_precision(projected):
    """Up to the error of a share of the 100 digits and more that are left."""
    for harm in ("dropped", "copied"):
        found = [one["precision"] for one in numbers(projected, "precision_recall", harm)]
        assert abs(found[1] - found[0]) < 0.1, (harm, found)
