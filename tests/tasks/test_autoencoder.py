"""The autoencoder's task, and the codec of its latents, on a network that is trained in seconds."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, TINY_CODER, one_device, two_devices

from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import complete, data_options
from ddm_jax.data import sources
from ddm_jax.data.pipeline import feed
from ddm_jax.models.codecs import Latent
from ddm_jax.training.base import Constants, View
from ddm_jax.verbs.opened import open_run

pytestmark = pytest.mark.usefixtures("quick_compilation")

VIEW = View(jnp.zeros((), jnp.int32), None, ())


def setup_of(*settings):
    config = complete(load_config(str(ROOT / "configs/digits_latent.py:autoencoder")))
    config = override(config, [*TINY_CODER, *(f"--config.{s}" for s in settings)])
    data = sources.load(data_options(config))
    return assemble(config, data.spec), data


def steps(setup, data, layout, count):
    """The state after `count` steps, and the metrics of the last."""
    step = setup.compiled_steps(layout)
    state = layout.replicate(jax.jit(setup.init_state)())
    rest = layout.replicate((Constants(None, {}), setup.train_key()))
    how = {"augment": setup.task.augment, "by_index": False}
    for k in range(count):
        fed = layout.shard(feed(data, k, setup.train.batch, setup.seed, **how))
        state, (metrics,) = step(state, (fed,), *rest)
        jax.block_until_ready(metrics.loss)
    return jax.device_get((state, metrics))


@pytest.fixture(scope="module")
def trained(tiny_autoencoder, quick_compilation):
    """(task, averaged weights, data)."""
    opened = open_run(tiny_autoencoder)
    weights = opened.load(one_device()).weights
    return opened.setup.task, weights.params, sources.load(opened.setup.data)


@pytest.fixture(scope="module")
def reconstructed(trained):
    """All examples, there and back."""
    task, params, data = trained
    return np.asarray(jax.jit(task.reconstructed)(params, data.columns["x"]))


@pytest.mark.slow
def test_reconstructions_are_nearer_than_the_mean_image(trained, reconstructed):
    task, _, data = trained
    shown = task.spec.show(data.columns["x"])
    assert reconstructed.shape == shown.shape
    assert reconstructed.min() >= 0 and reconstructed.max() <= 1
    assert ((reconstructed - shown) ** 2).mean() < 0.25 * shown.var(0).mean()


@pytest.fixture(scope="module")
def codec(trained):
    """(codec, decode(x), encode(values, keys) -> (drawn, means, variances of latents))."""
    task, params, data = trained
    latents = task.measured(params, data.columns["x"], "digest")
    spec, lent = dataclasses.replace(data.spec, latents=latents), {"autoencoder": params}
    row = Latent(spec, lent={"autoencoder": task})

    @jax.jit
    def encode(values, keys):
        both = (row.encode(values, lent, k) for k in (keys, None))
        return *both, task.moments(params, values)[1]

    return row, jax.jit(lambda x: row.decode(x, lent)), encode


def test_latents_have_mean_0_and_deviation_1_in_every_channel(codec, trained):
    """All examples were measured; what is drawn has them."""
    row, _, encode = codec
    x = trained[2].columns["x"]
    assert row.shape == (4, 4, 2) and row.limits() is None
    found = encode(x, jax.random.split(jax.random.key(0), len(x)))
    drawn, mean, variance = (np.asarray(a, np.float64) for a in found)
    np.testing.assert_allclose(drawn.mean((0, 1, 2)), 0, atol=0.02)
    np.testing.assert_allclose(drawn.std((0, 1, 2)), 1, atol=0.02)
    np.testing.assert_allclose(mean.mean((0, 1, 2)), 0, atol=1e-4)
    square = mean**2 + variance / np.array(row.latents.std) ** 2
    np.testing.assert_allclose(square.mean((0, 1, 2)), 1, atol=1e-4)
    apart = (drawn - mean) * np.array(row.latents.std) / np.sqrt(variance)
    assert 0.98 < apart.std() < 1.02 and abs(apart).max() > 3


def test_decoding_is_the_reconstruction_whatever_axes_stand_before(codec, trained, reconstructed):
    row, decode, encode = codec
    x = trained[2].columns["x"]
    _, mean, _ = encode(x, jax.random.split(jax.random.key(0), len(x)))
    back = np.asarray(decode(mean[:6].reshape(2, 3, *row.shape)))
    assert back.shape[:2] == (2, 3)
    np.testing.assert_allclose(back.reshape(6, 8, 8, 1), reconstructed[:6], atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_latents_that_are_not_finite_are_not_hidden(codec, bad):
    row, decode, _ = codec
    seen = np.asarray(decode(jnp.zeros((2, 3, *row.shape)).at[0, 0, 0, 0].set(bad)))
    assert np.isnan(seen[0, 0]).any() and np.isfinite(seen[1]).all()


def test_the_loss_is_made_of_its_parts_and_belongs_to_the_example(trained):
    task, params, data = trained
    part = feed(data, 0, 16, 0, augment=task.augment, by_index=False)

    @jax.jit
    def terms(part):
        batch = task.prepare(part, Constants(None, {}), jax.random.key(1))
        return task.loss(params, batch, jax.random.key(2), borrowed={}, view=VIEW)

    whole, half = terms(part), terms({k: v[8:] for k, v in part.items()})
    parts = whole.parts
    assert parts.keys() == {"reconstruction", "kl", "psnr"} and whole.t is None
    np.testing.assert_allclose(whole.loss, parts["reconstruction"] + 1e-3 * parts["kl"], rtol=1e-5)
    np.testing.assert_allclose(half.loss, whole.loss[8:], rtol=1e-4)
    assert 10 < parts["psnr"].min() < parts["psnr"].max() < 60


@pytest.mark.slow
def test_two_devices_learn_what_one_learns():
    setup, data = setup_of("optim.name=sgd", "optim.lr=0.1", "train.batch=8")
    (one, a), (two, b) = (steps(setup, data, layout(), 3) for layout in (one_device, two_devices))
    np.testing.assert_allclose(a.loss, b.loss, rtol=1e-5)
    for x, y in zip(*(jax.tree.leaves(s.params) for s in (one, two)), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)
    moved = jax.tree.map(lambda a, b: abs(a - b).max(), one.params, setup.init_params())
    for path, leaf in jax.tree_util.tree_leaves_with_path(moved):
        assert leaf > 0, jax.tree_util.keystr(path)


@pytest.mark.slow
def test_a_codebook_is_trained_beside_the_network():
    setup, data = setup_of("bottleneck.name=vq", "bottleneck.vq.size=16", "train.batch=8")
    fresh = setup.init_params()
    state, metrics = steps(setup, data, one_device(), 2)
    assert metrics.parts.keys() == {"reconstruction", "codebook", "codes", "psnr"}
    assert 1 <= metrics.parts["codes"] <= 16 and fresh.objective.shape == (16, 2)
    assert abs(state.params.objective - fresh.objective).max() > 0
