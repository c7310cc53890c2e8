"""Batches by number: pure, complete, the same on any number of hosts."""

import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.data import sources
from ddm_jax.data.dataset import DataOptions, Dataset, spec_of
from ddm_jax.data.pipeline import Scaling, Stretch, feed, prefetch, prepare, scaling_of


@pytest.fixture(scope="module")
def digits():
    return sources.load(DataOptions())


def test_every_epoch_is_a_permutation_of_its_own():
    stretch = Stretch(count=10, batch=4, seed=1)
    stream = np.concatenate([stretch.indices(k) for k in range(10)])
    epochs = stream.reshape(4, 10)
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert not np.array_equal(
        stream, np.concatenate([Stretch(10, 4, 2).indices(k) for k in range(10)])
    )


def test_a_batch_larger_than_the_set_wraps_around():
    assert sorted(Stretch(count=3, batch=6, seed=0).indices(5)) == [0, 0, 1, 1, 2, 2]


def test_hosts_together_read_the_whole_batch(digits):
    whole = feed(digits, 30, 64, 5, True, False)
    for hosts in (2, 4):
        parts = [feed(digits, 30, 64, 5, True, False, (h, hosts)) for h in range(hosts)]
        for name in whole._fields:
            joined = np.concatenate([getattr(part, name) for part in parts])
            np.testing.assert_array_equal(joined, getattr(whole, name))


def test_flips_are_fair_and_off_when_off(digits):
    flips = np.concatenate([feed(digits, k, 64, 0, True, False).flip for k in range(50)])
    assert flips.mean() == pytest.approx(0.5, abs=0.03)
    assert not feed(digits, 0, 64, 0, False, False).flip.any()


def test_device_resident_data_give_the_same_batch(digits):
    scaling = scaling_of(digits.spec, "unit")
    host = prepare(scaling, feed(digits, 3, 32, 0, True, False), None)
    device = prepare(scaling, feed(digits, 3, 32, 0, True, True), jnp.asarray(digits.images))
    for a, b in zip(host, device, strict=True):
        np.testing.assert_array_equal(a, b)


def test_prepare_flips_left_and_right_only():
    images = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3, 1) * 20
    data = Dataset(spec_of("x", images), images)
    part = feed(data, 0, 2, 0, False, False)._replace(flip=np.array([True, False]))
    x = scaling_of(data.spec, "unit").decode(prepare(scaling_of(data.spec, "unit"), part, None).x0)
    got = np.rint(np.asarray(x) * 255)
    np.testing.assert_array_equal(got[0], part.image[0][:, ::-1])
    np.testing.assert_array_equal(got[1], part.image[1])


def test_scalings(digits):
    unit, fitted = (scaling_of(digits.spec, kind) for kind in ("unit", "fitted"))
    x = np.asarray(unit.encode(digits.images))
    assert (x.min(), x.max()) == (-1, 1)
    assert [float(limit[0]) for limit in unit.limits()] == [-1, 1]
    y = np.asarray(fitted.encode(digits.images), np.float64)
    assert y.mean() == pytest.approx(0, abs=1e-5) and y.std() == pytest.approx(1, abs=1e-5)
    assert float(fitted.limits()[0][0]) == pytest.approx(y.min(), rel=1e-5)
    for scaling in (unit, fitted):
        back = scaling.decode(scaling.encode(digits.images))
        np.testing.assert_allclose(back, digits.images / 255, atol=1e-6)
    assert float(Scaling((0.5,), (0.5,)).decode(jnp.array([7.0]))[0]) == 1.0


def test_spec_statistics_are_exact_per_channel():
    images = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 3), dtype=np.uint8)
    spec = spec_of("x", images)
    np.testing.assert_allclose(spec.mean, (images / 255).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(spec.std, (images / 255).std((0, 1, 2)), rtol=1e-9)


def test_prefetch_keeps_the_order_and_hands_on_errors():
    assert list(prefetch(lambda k: k * k, 3, 9)) == [9, 16, 25, 36, 49, 64]

    def fail(k):
        if k == 2:
            raise OSError("disk")
        return k

    got = []
    with pytest.raises(OSError, match="disk"):
        for item in prefetch(fail, 0, 5):
            got.append(item)
    assert got == [0, 1]


def test_prefetch_can_be_left_early():
    stream = prefetch(lambda k: k, 0, 10**9)
    assert next(stream) == 0
    stream.close()
