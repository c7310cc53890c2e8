"""Image k depends on the weights and (seed, k) only: not on the batch, nor on the devices."""

import dataclasses

import jax
import numpy as np
import pytest
from conftest import ROOT, TINY_UNET, one_device, two_devices

from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import data_options
from ddm_jax.data import sources
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.generator import Generator
from ddm_jax.training.layout import Layout
from ddm_jax.verbs import sampling
from ddm_jax.verbs.sampling import in_batches, make_draw

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]


@pytest.fixture(scope="module", params=["v", pytest.param("eps", marks=pytest.mark.slow)])
def trained(request):
    """A tiny generator and weights that are not at rest."""
    config = load_config(str(ROOT / "configs/quickstart.py"))
    overrides = (
        *TINY_UNET,
        f"--config.prediction.name={request.param}",
        "--config.sampler.ddim.eta=1",
        "--config.sample.steps=10",
    )
    config = override(config, overrides)
    setup = assemble(config, sources.load(data_options(config)).spec)
    leaves, tree = jax.tree.flatten(setup.init_params())
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [a + 0.02 * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)]
    return setup.task.generator, Weights(tree.unflatten(noisy))


def draw(trained, batch, layout, count=17):
    generator, weights = in_batches_of(batch, trained)
    return make_draw(generator, layout)(layout.replicate(weights), count, print)


def in_batches_of(size, trained):
    generator, weights = trained
    options = dataclasses.replace(generator.options, batch=size)
    return dataclasses.replace(generator, options=options), weights


@pytest.mark.telling
def test_images_are_the_same_for_every_batch_size_and_device_count(trained):
    base = draw(trained, 16, one_device())
    assert base.shape == (17, 8, 8, 1) and base.std() > 0.05
    assert np.abs(base[0] - base[10]).max() > 0.05  # the same class, another image
    for batch, layout in ((1, one_device()), (6, one_device()), (6, two_devices())):
        np.testing.assert_allclose(draw(trained, batch, layout), base, atol=1e-5)


def test_one_program_serves_every_batch_the_last_one_included(trained):
    generator, weights = in_batches_of(8, trained)
    layout, traces = one_device(), []

    class Counting(Generator):
        def generate(self, weights, index):
            traces.append(index.shape)
            return super().generate(weights, index)

    fields = {f.name: getattr(generator, f.name) for f in dataclasses.fields(generator)}
    draw = make_draw(Counting(**fields), layout)
    assert len(draw(layout.replicate(weights), 18, print)) == 18
    assert traces == [(8,)]


@pytest.mark.parametrize("count, processes, batch", [(7, 2, 2), (5, 1, 2), (1, 3, 4), (12, 4, 64)])
def test_each_process_draws_an_equal_share_and_all_have_the_whole(
    count, processes, batch, monkeypatch
):
    """The exchange is played: what each of them sends first, then what all receive."""
    devices, index = tuple(jax.local_devices()[:1]), np.arange(10, 10 + count)
    layouts = [Layout(devices, p, processes) for p in range(processes)]
    sent = [[] for _ in layouts]

    def send(layout, rows):
        sent[layout.process].append(rows)
        return np.stack([rows] * processes)

    def all_of(layout):
        return in_batches(layout, np.copy, index, batch, say=print)

    monkeypatch.setattr(sampling, "allgather", send)
    for layout in layouts:
        all_of(layout)
    rounds = [np.stack(parts) for parts in zip(*sent, strict=True)]
    assert max(part.size for part in sent[0]) <= batch
    assert sum(part.size for part in sent[0]) < -(-count // processes) + batch
    for layout in layouts:
        received = iter(rounds)
        monkeypatch.setattr(sampling, "allgather", lambda *_, received=received: next(received))
        np.testing.assert_array_equal(all_of(layout), index)
