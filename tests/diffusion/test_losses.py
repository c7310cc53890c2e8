"""Laws of the training loss, its times and guidance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.diffusion.core import Estimate, fold_in
from ddm_jax.diffusion.guidance import guide
from ddm_jax.diffusion.losses import Batch, diffusion_loss
from ddm_jax.diffusion.predictions import PREDICTIONS, Timestep
from ddm_jax.diffusion.schedules import Cosine
from ddm_jax.diffusion.times import TIMES, Discrete

KEY = jax.random.key(3)


def loss_of(net, prediction="eps", **options):
    return diffusion_loss(net, Cosine(), PREDICTIONS[prediction](), Timestep(), Discrete(),
                          **options)  # fmt: skip


def batch(count, size=4, cond=None):
    x0 = jax.random.normal(KEY, (count, size, size, 1))
    return Batch(x0, cond, jnp.arange(count))


def zero(params, x, label, cond, keys):
    return jnp.zeros_like(x)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_zero_network_starts_at_one_on_unit_data(prediction):
    """E|eps|^2 = 1, and x_0 and v have unit variance too."""
    terms = loss_of(zero, prediction)(None, batch(4000), KEY)
    assert float(terms.loss.mean()) == pytest.approx(1.0, abs=0.02)


def test_the_loss_does_not_depend_on_how_a_batch_is_split():
    def net(params, x, label, cond, keys):
        return params * x + jnp.sin(label)[:, None, None, None]

    loss, whole = loss_of(net), batch(8)
    parts = [jax.tree.map(lambda a: a[i : i + 2], whole) for i in range(0, 8, 2)]  # noqa: B023
    split = [loss(0.3, part, KEY) for part in parts]
    np.testing.assert_array_equal(loss(0.3, whole, KEY).t, np.concatenate([s.t for s in split]))
    np.testing.assert_allclose(
        loss(0.3, whole, KEY).loss, np.concatenate([s.loss for s in split]), rtol=1e-6
    )


def test_labels_are_dropped_at_their_rate_and_independently_of_the_times():
    seen = {}

    def net(params, x, label, cond, keys):
        seen.update(cond=cond, keys=keys)
        return jnp.zeros_like(x)

    count = 4000
    terms = loss_of(net, null=10, label_dropout=0.25)(
        None, batch(count, 1, jnp.zeros(count, jnp.int32)), KEY
    )
    dropped = np.asarray(seen["cond"] == 10, float)
    assert dropped.mean() == pytest.approx(0.25, abs=0.03)
    assert abs(np.corrcoef(dropped, terms.t)[0, 1]) < 0.05
    assert seen["keys"].shape == (count,)
    loss_of(net)(None, batch(8, 1, jnp.zeros(8, jnp.int32)), KEY)
    assert (seen["cond"] == 0).all()


@pytest.mark.parametrize("name", TIMES)
def test_times_are_uniform_on_the_unit_interval(name):
    t = np.sort(TIMES[name]().draw(fold_in(KEY, jnp.arange(5000))))
    assert 0 <= t[0] and t[-1] <= 1
    uniform = (np.arange(5000) + 0.5) / 5000
    assert abs(t - uniform).max() < 0.03  # Kolmogorov-Smirnov


def test_discrete_times_are_the_levels_both_ends_included():
    t = Discrete(4).draw(fold_in(KEY, jnp.arange(2000)))
    levels, counts = np.unique(np.round(np.asarray(t) * 3).astype(int), return_counts=True)
    np.testing.assert_allclose(np.asarray(t) * 3, np.round(np.asarray(t) * 3), atol=1e-6)
    assert list(levels) == [0, 1, 2, 3] and (abs(counts / 2000 - 0.25) < 0.04).all()


def test_guidance_interpolates_and_extrapolates():
    main = lambda x, t: Estimate(x + 1)  # noqa: E731
    reference = lambda x, t: Estimate(x - 1)  # noqa: E731
    x = jnp.zeros(3)
    assert guide(main, reference, 1.0) is main
    np.testing.assert_array_equal(guide(main, reference, 0.0)(x, 0).x0, x - 1)
    np.testing.assert_array_equal(guide(main, reference, 3.0)(x, 0).x0, x + 5)
