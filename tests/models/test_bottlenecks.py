"""What lies between the halves of an autoencoder: closed forms, draws, and whither gradients go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.models.bottlenecks import BOTTLENECKS, KL, VQ, kl_to_normal

pytestmark = pytest.mark.usefixtures("quick_compilation")

RNG = np.random.default_rng(0)
MEAN, LOG_VARIANCE = RNG.normal(size=(2, 3, 4, 2)), RNG.normal(size=(2, 3, 4, 2)) - 1
H = jnp.asarray(np.concatenate([MEAN, LOG_VARIANCE], -1), jnp.float32)
KEYS = jax.random.split(jax.random.key(0), 2)


def test_kl_is_the_integral_that_it_stands_for():
    """The closed form, by quadrature of p log(p / q) for each element."""
    z = np.linspace(-12, 12, 4001)

    def log_normal(mean, log_variance):
        return -0.5 * ((z - mean) ** 2 / np.exp(log_variance) + log_variance + np.log(2 * np.pi))

    expected = np.zeros(2)
    for place in np.ndindex(MEAN.shape):
        own = log_normal(MEAN[place], LOG_VARIANCE[place])
        expected[place[0]] += np.trapezoid(np.exp(own) * (own - log_normal(0.0, 0.0)), z)
    np.testing.assert_allclose(
        kl_to_normal(*map(jnp.asarray, (MEAN, LOG_VARIANCE))), expected, 1e-5
    )
    assert (kl_to_normal(jnp.zeros((2, 3)), jnp.zeros((2, 3))) == 0).all()


def test_kl_draws_what_its_moments_say_and_is_paid_for_by_the_element():
    kl = KL(weight=0.5)
    mean, variance = kl.moments(H)
    np.testing.assert_allclose(mean, MEAN, rtol=1e-6)
    np.testing.assert_allclose(variance, np.exp(LOG_VARIANCE), rtol=1e-5)
    keys = jax.random.split(jax.random.key(1), (4000, 2))
    z = np.asarray(jax.vmap(lambda k: kl.through((), H, k, 10).z)(keys), np.float64)
    error = np.sqrt(np.asarray(variance) / 4000)
    assert (abs(z.mean(0) - MEAN) < 5 * error).all()
    np.testing.assert_allclose(z.var(0), variance, rtol=0.15)
    passed = kl.through((), H, KEYS, 10)
    np.testing.assert_allclose(passed.parts["kl"], kl_to_normal(mean, jnp.log(variance)) / 10, 1e-5)
    np.testing.assert_allclose(passed.penalty, 0.5 * passed.parts["kl"])
    assert kl.settled((), passed.z) is passed.z


def test_absurd_variances_stay_finite():
    wild = jnp.concatenate([jnp.zeros((1, 2)), jnp.array([[1e4, -1e4]])], -1)
    mean, variance = KL().moments(wild)
    assert np.isfinite(KL().through((), wild, KEYS[:1], 1).z).all()
    assert np.isfinite(variance).all() and (mean == 0).all()


def test_vq_shows_the_nearest_vector():
    vq = VQ(size=7)
    codebook, z = vq.init(jax.random.key(0), 2), jnp.asarray(MEAN, jnp.float32)
    away = ((np.asarray(z)[..., None, :] - np.asarray(codebook)) ** 2).sum(-1)
    expected = np.asarray(codebook)[away.argmin(-1)]
    passed = vq.through(codebook, z, KEYS, 10)
    np.testing.assert_allclose(passed.z, expected, atol=1e-6)
    np.testing.assert_allclose(vq.settled(codebook, z), expected)
    squares = ((np.asarray(z) - expected) ** 2).reshape(2, -1).mean(1)
    np.testing.assert_allclose(passed.penalty, 1.25 * squares, rtol=1e-5)
    shown = [len(set(row.ravel().tolist())) for row in away.argmin(-1)]
    assert passed.parts["codes"].tolist() == shown and len(set(shown)) == 2
    mean, variance = vq.moments(z)
    assert mean is z and (variance == 0).all()


def test_gradients_of_vq_go_straight_through_and_each_to_its_own():
    """Of the decoder's loss to z as it stands and not to the vectors, which follow z alone."""
    vq, z = VQ(size=7, commitment=0.5), jnp.asarray(MEAN, jnp.float32)
    codebook, wanted = vq.init(jax.random.key(0), 2), jnp.asarray(LOG_VARIANCE, jnp.float32)

    def of_decoder(codebook, z):
        return (vq.through(codebook, z, KEYS, 10).z * wanted).sum()

    to_codebook, to_z = jax.grad(of_decoder, (0, 1))(codebook, z)
    assert (to_codebook == 0).all()
    np.testing.assert_allclose(to_z, wanted)

    def of_penalty(codebook, z):
        return vq.through(codebook, z, KEYS, 10).penalty.sum()

    to_codebook, to_z = jax.grad(of_penalty, (0, 1))(codebook, z)
    away = np.asarray(z) - np.asarray(vq.settled(codebook, z))
    np.testing.assert_allclose(to_z, 0.5 * 2 * away / away[0].size, rtol=1e-4, atol=1e-7)
    sums = np.zeros((7, 2))
    np.add.at(sums, np.asarray(vq.nearest(codebook, z)), -2 * away / away[0].size)
    np.testing.assert_allclose(to_codebook, sums, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", BOTTLENECKS)
def test_what_passes_belongs_to_the_example(name):
    row = BOTTLENECKS[name]()
    params = row.init(jax.random.key(0), 2)
    h = H if row.factor == 2 else jnp.asarray(MEAN, jnp.float32)
    whole, part = row.through(params, h, KEYS, 10), row.through(params, h[1:], KEYS[1:], 10)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(part), strict=True):
        np.testing.assert_allclose(a[1:], b, rtol=1e-6)


@pytest.mark.parametrize(
    "cls, setting", [(KL, {"weight": -1.0}), (VQ, {"size": 1}), (VQ, {"commitment": -0.1})]
)
def test_impossible_settings_are_refused(cls, setting):
    with pytest.raises(ValueError, match=f"needs .*{next(iter(setting))}"):
        cls(**setting)
