"""Rules on records of measured numbers: each fault is named, and what is healthy is not."""

import numpy as np
import pytest

from ddm_jax.evaluation.diagnosis import DATA, REST, diagnose
from ddm_jax.evaluation.health import (
    Checkup,
    Curve,
    Log,
    Means,
    Moved,
    Start,
    Told,
    Values,
    means,
    values,
)

TIMES = np.linspace(0.05, 0.95, 10)
SNR = np.exp(5.5 - 11 * TIMES)
GAUSSIAN = 0.3 / (1 + 0.3 * SNR)
FIRST = 2.5 * GAUSSIAN
ERROR = 0.02 * GAUSSIAN
ONE = np.ones(1)


def seen(**changes) -> Checkup:
    """A healthy run at its end, with changes."""
    healthy = Checkup(
        step=500,
        steps=500,
        times=TIMES,
        logsnr=np.log(SNR),
        averaged=Means(0.6 * GAUSSIAN, ERROR),
        raw=Means(0.6 * GAUSSIAN, ERROR),
        first=FIRST,
        gaussian=GAUSSIAN,
        full=True,
        x=Values(1797, -0.4 * ONE, 0.75 * ONE, -ONE, ONE, 0.3),
        limits=(-ONE, ONE),
        levels=256,
        returned=0.0,
        moved=Moved(0.21, 0.2),
        log=Log(np.arange(50, 501, 50), np.linspace(0.67, 0.23, 10), np.full(10, 0.4), np.ones(10)),
        lr=1e-3,
        clip=1.0,
        start=Start(1.0, 1e-5, 0.0, 1.0),
        told=Told(Means(0.5 * GAUSSIAN, ERROR), (0.42, 0.005)),
        data=Values(64, 0.3 * ONE, 0.38 * ONE, 0 * ONE, ONE, 0.07),
        samples=Values(64, 0.32 * ONE, 0.36 * ONE, 0 * ONE, ONE, 0.06),
        reference=Curve("known", 500, TIMES, 0.6 * GAUSSIAN),
    )
    return healthy._replace(**changes)


def ill(record: Checkup) -> list[str]:
    return [finding.name for finding in diagnose(record) if finding.ill]


def named(record: Checkup) -> list[str]:
    return [finding.name for finding in diagnose(record)]


def of(gaussian: float) -> Means:
    return Means(gaussian * GAUSSIAN, ERROR)


def test_a_healthy_run_has_no_finding_at_all():
    assert named(seen()) == []
    assert named(seen(told=None, data=None, samples=None, reference=None, limits=None)) == []
    assert named(seen(log=Log(*[np.zeros(0)] * 4), clip=0.0)) == []


X = seen().x
SHORT = {"raw": of(1.6), "averaged": of(1.6), "told": None}
BLOWN = {**SHORT, "raw": of(1.7), "moved": Moved(16.0, 16.0)}
FAULTS = {
    "images all equal": [
        {"x": X._replace(spread=0.0)},
        {"x": X._replace(spread=1e-4 * 0.75**2), "raw": of(50.0)},
    ],
    "data scaled twice": [
        {"x": X._replace(low=0 * ONE), "returned": 0.0},
        {"x": X._replace(low=-ONE, high=-0.99 * ONE, std=0.003 * ONE, spread=5e-6)},
        {"x": X._replace(low=-3 * ONE)},
        {"returned": 0.3},
        {"x": X._replace(std=0.01 * ONE, spread=5e-5)},
    ],
    "wrong schedule at sampling": [
        {"start": Start(0.5, 1.0, 0.0, 1.0)},
        {"start": Start(1.0, 1e-5, 3.0, 1.0)},
        {"start": Start(1.0, 1e-5, 0.0, 0.1)},
        {"start": Start(1.0, 1e-5, 0.0, 1.4)},
        {"samples": seen().samples._replace(mean=0.8 * ONE)},
        {"samples": seen().samples._replace(std=0.2 * ONE)},
        {"samples": seen().samples._replace(std=0.6 * ONE)},
        {"samples": seen().samples._replace(spread=1e-4)},
    ],
    "EMA never updated": [{"averaged": Means(FIRST, ERROR), "moved": Moved(0.2, 0.0)}],
    "EMA too slow": [{"averaged": of(0.9), "moved": Moved(0.2, 0.1)}],
    "labels shuffled": [
        {"told": Told(Means(2 * ERROR, ERROR), (0.004, 0.005))},
        {"told": Told(Means(-9 * ERROR, ERROR), (0.4, 0.005))},
        {"told": Told(Means(1e-3 * GAUSSIAN, 1e-5 * GAUSSIAN), None)},
    ],
    "learning rate too high": [
        BLOWN,
        {**SHORT, "log": seen().log._replace(loss=np.linspace(0.7, 0.68, 10))},
        {**SHORT, "log": seen().log._replace(loss=np.array([1.0, 0.2, 0.9, 0.9, 0.9]))},
        {**SHORT, "log": seen().log._replace(grad_norm=np.full(10, 20.0))},
    ],
    "hardly learnt": [SHORT, {**SHORT, "raw": Means(np.full(10, 0.4), ERROR)}],
    "samples not finite": [{"samples": None}],
    "worse than the reference": [{"averaged": of(0.9), "raw": of(0.9)}],
}


@pytest.mark.parametrize(
    "name, changes", [(name, changes) for name, rows in FAULTS.items() for changes in rows]
)
def test_each_fault_is_named_and_no_other(name, changes):
    assert ill(seen(**changes)) == [name]
    for finding in diagnose(seen(**changes)):
        assert finding.text[0].isupper() and "  " not in finding.text


@pytest.mark.parametrize(
    "changes, names",
    [
        ({"raw": of(1.12), "averaged": of(1.12), "step": 250}, ["still learning"]),
        ({"raw": of(1.12), "averaged": of(1.12)}, ["still learning"]),
        ({**SHORT, "step": 250}, ["still learning"]),
        ({"averaged": of(0.9), "step": 250}, ["EMA too slow"]),
        ({"averaged": of(0.7)}, []),
        ({"start": Start(0.98, 0.005, 0.05, 1.0)}, ["wrong schedule at sampling"]),
        ({"told": Told(Means(0 * ERROR, ERROR), (0.4, 0.005)), "step": 250}, ["labels shuffled"]),
        ({"moved": Moved(20.0, 20.0)}, []),
        ({"log": seen().log._replace(grad_norm=np.full(10, 20.0))}, []),
        ({"reference": Curve("known", 600, TIMES, 0.1 * GAUSSIAN)}, []),
        ({"reference": Curve("known", 500, TIMES, 0.55 * GAUSSIAN)}, []),
        ({"x": X._replace(low=0 * ONE), "levels": 0}, []),
        ({"x": X._replace(examples=50, low=0 * ONE)}, []),
    ],
)
def test_what_may_yet_be_well_is_no_fault(changes, names):
    assert ill(seen(**changes)) == []
    assert named(seen(**changes)) == names


def test_one_example_is_no_fault_and_has_no_yardstick():
    one = seen(x=X._replace(examples=1, spread=0.0), gaussian=0 * GAUSSIAN, told=None)
    assert named(one) == ["one example"]


def test_samples_are_not_blamed_on_sampling_where_the_network_has_not_learnt():
    record = seen(**{**SHORT, "samples": seen().samples._replace(mean=0.9 * ONE)})
    assert ill(record) == ["hardly learnt"]
    unlearnt = seen(told=Told(Means(0 * ERROR, ERROR), (0.4, 0.005)), raw=of(1.6), averaged=of(1.6))
    assert "labels shuffled" not in named(unlearnt)


def test_losses_that_are_not_finite_are_no_health():
    nothing = Means(np.full(10, np.nan), np.full(10, np.nan))
    assert ill(seen(raw=nothing, averaged=nothing, told=None)) == ["hardly learnt"]


def test_noise_of_few_examples_is_no_fault():
    """A loss above the bounds by no more than its own error."""
    wide = Means(0.32 * np.ones(10), 0.02 * np.ones(10))
    record = seen(raw=wide, averaged=wide, told=None, first=np.full(10, 0.33))
    assert record.above(wide, 0.3) == 0 and record.above(wide, 0.2) == 10


def test_faults_come_first_and_spoilt_data_alone():
    record = seen(start=Start(0.98, 0.005, 0.0, 1.0), averaged=of(0.9))
    assert [f.ill for f in diagnose(record)] == [True, False]
    assert named(record._replace(x=X._replace(spread=0.0))) == ["images all equal"]
    assert len({rule.__name__ for rule in (*DATA, *REST)}) == len(DATA) + len(REST)


def test_a_curve_goes_through_its_own_points_and_evenly_between_them():
    curve = Curve("known", 1, np.array([0.9, 0.1, 0.5]), np.array([9.0, 1.0, 4.0]))
    np.testing.assert_allclose(curve.at(np.array([0.1, 0.3, 0.5, 0.9])), [1, 2, 4, 9])


def test_means_and_values_against_numpy():
    rows = np.random.default_rng(0).normal(size=(7, 3))
    found = means(rows)
    np.testing.assert_allclose(found.error, rows.std(0, ddof=1) / np.sqrt(7))
    x = np.random.default_rng(1).normal(size=(5, 2, 3, 2)).astype(np.float32)
    seen_of = values(x)
    np.testing.assert_allclose(seen_of.mean, x.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(seen_of.high, x.max((0, 1, 2)))
    assert seen_of.spread == pytest.approx(x.astype(float).var(0).mean()) and not seen_of.alike
    assert values(np.repeat(x[:1], 5, 0)).alike
