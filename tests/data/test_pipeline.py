"""Batches by number: pure, complete, the same on any number of hosts."""

import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.data import sources
from ddm_jax.data.augments import NO_AUGMENT, Mirror
from ddm_jax.data.columns import spec_of
from ddm_jax.data.dataset import DataOptions, Dataset
from ddm_jax.data.pipeline import Stretch, feed, prefetch, prepare


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
    whole = feed(digits, 30, 64, 5, augment=Mirror(), by_index=False)
    for hosts in (2, 4):
        parts = [
            feed(digits, 30, 64, 5, augment=Mirror(), by_index=False, part=(h, hosts))
            for h in range(hosts)
        ]
        assert whole.keys() == {"x", "label", "place", "mirrored"}
        for name in whole:
            joined = np.concatenate([part[name] for part in parts])
            np.testing.assert_array_equal(joined, whole[name])


def test_flips_are_fair_and_off_when_off(digits):
    flips = np.concatenate(
        [feed(digits, k, 64, 0, augment=Mirror(), by_index=False)["mirrored"] for k in range(50)]
    )
    assert flips.mean() == pytest.approx(0.5, abs=0.03)
    assert "mirrored" not in feed(digits, 0, 64, 0, augment=NO_AUGMENT, by_index=False)


def test_device_resident_data_give_the_same_batch(digits):
    pool = jnp.asarray(digits.columns["x"])
    host = prepare(feed(digits, 3, 32, 0, augment=Mirror(), by_index=False), None, Mirror())
    fed = feed(digits, 3, 32, 0, augment=Mirror(), by_index=True)
    assert fed.keys() == {"index", "label", "place", "mirrored"}
    device = prepare(fed, pool, Mirror())
    assert host.keys() == device.keys() == {"x", "label", "place"}
    for name in host:
        np.testing.assert_array_equal(host[name], device[name])


def test_prepare_flips_left_and_right_only():
    images = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3, 1) * 20
    data = Dataset(spec_of("x", {"x": images}), {"x": images})
    part = {
        **feed(data, 0, 2, 0, augment=NO_AUGMENT, by_index=False),
        "mirrored": np.array([True, False]),
    }
    got = prepare(part, None, Mirror())["x"]
    np.testing.assert_array_equal(got[0], part["x"][0][:, ::-1])
    np.testing.assert_array_equal(got[1], part["x"][1])


def test_text_stays_with_the_data_and_other_columns_go_along():
    columns = {
        "x": np.zeros((4, 2, 3, 1), np.uint8),
        "text": np.array(list("abcd")),
        "noise": np.arange(4, dtype=np.float32),
    }
    fed = feed(Dataset(spec_of("x", columns), columns), 0, 4, 0, augment=NO_AUGMENT, by_index=False)
    assert fed.keys() == {"x", "noise", "place"} and sorted(fed["noise"]) == [0, 1, 2, 3]


def test_prefetch_keeps_the_order_and_hands_on_errors():
    assert list(prefetch(lambda k: k * k, range(3, 9))) == [9, 16, 25, 36, 49, 64]

    def fail(k):
        if k == 2:
            raise OSError("disk")
        return k

    got = []
    with pytest.raises(OSError, match="disk"):
        for item in prefetch(fail, range(5)):
            got.append(item)
    assert got == [0, 1]


def test_prefetch_can_be_left_early():
    stream = prefetch(lambda k: k, range(10**9))
    assert next(stream) == 0
    stream.close()
