"""Latents of a whole data set, encoded once and kept beside the decoded data."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.config.setup import Setup
from ddm_jax.data import sources
from ddm_jax.data.augments import NO_AUGMENT
from ddm_jax.data.cache import Decoded, cached
from ddm_jax.data.dataset import Dataset, Report, check_same_data
from ddm_jax.files import new_array
from ddm_jax.tasks.autoencoder import AT_ONCE, Autoencoder
from ddm_jax.training.layout import Layout
from ddm_jax.training.processes import together
from ddm_jax.verbs.opened import Opened

TOLD = 10  # times that progress is reported


def encode_latents(opened: Opened, layout: Layout) -> None:
    """Encode the data of an autoencoder's run, for the diffusion models of its latents."""
    setup = opened.setup
    loaded = opened.load(layout)
    with together(layout):
        data = sources.load(setup.data, layout.say)
        check_same_data(data.spec, setup.spec)
        if layout.first:
            how = {"sha256": loaded.origins[""]["sha256"], "cache": setup.data.cache}
            encoded(setup.task, loaded.weights.params, data, **how, say=layout.say)
            layout.say(
                f"the latents of {data.spec.count:,} examples are stored; runs with "
                f"--config.codec.latent.run={opened.folder} read them"
            )


def stored(
    setup: Setup, data: Dataset, borrowed: Mapping[str, Any], layout: Layout
) -> tuple[Setup, Dataset]:
    """The setup and data of training, of latents where examples are encoded before."""
    of_latents, codec = reading(setup), setup.task.codec
    if of_latents is setup:
        return setup, data
    with together(layout):
        lender, params = codec.lent[codec.asks], borrowed[codec.asks]
        sha256 = codec.latents.sha256
        data = encoded(lender, params, data, sha256=sha256, cache=setup.data.cache, say=layout.say)
    return of_latents, data


def planned(setup: Setup, data: Dataset) -> tuple[Setup, Dataset]:
    """As `stored`, with zeros that take no memory for latents."""
    of_latents, codec = reading(setup), setup.task.codec
    if of_latents is setup:
        return setup, data
    shape = moments_shape(codec.lent[codec.asks], data)
    return of_latents, holding(data, np.broadcast_to(np.float32(0), shape))


def reading(setup: Setup) -> Setup:
    """That of training on latents where examples are encoded before; else the same.

    Examples that are augmented are not the same twice, so they are encoded batch by batch.
    """
    codec = setup.task.codec
    if codec.stored is None or setup.task.augment != NO_AUGMENT:
        return setup
    return dataclasses.replace(setup, task=dataclasses.replace(setup.task, codec=codec.stored))


def moments_shape(task: Autoencoder, data: Dataset) -> tuple[int, ...]:
    """(N, ..., 2 C): of all latents, means and deviations."""
    *space, channels = task.net.shape(data.spec.shape[:-1])
    return data.spec.count, *space, 2 * channels


def holding(data: Dataset, x: np.ndarray) -> Dataset:
    """The data with other examples."""
    return dataclasses.replace(data, columns={**data.columns, "x": x})


def encoded(
    task: Autoencoder, params: Any, data: Dataset, *, sha256: str, say: Report, cache: str = ""
) -> Dataset:
    """The data with means and deviations of latents, float32 (N, ..., 2 C), as their examples.

    They are kept in the folder of decoded data, by the sums of the data and of the weights.
    """

    @jax.jit
    def moments(params: Any, values: Array) -> Array:
        mean, variance = task.moments(params, values)
        return jnp.concatenate([mean, jnp.sqrt(variance)], -1)

    def make(path: Path) -> Decoded:
        x, count = data.columns["x"], data.spec.count
        found = new_array(path, np.dtype(np.float32), moments_shape(task, data))
        told = -(-count // TOLD)
        for start in range(0, count, AT_ONCE):
            end = min(start + AT_ONCE, count)
            filled = np.resize(np.arange(start, end), AT_ONCE)
            found[start:end] = np.asarray(moments(params, np.asarray(x[filled])))[: end - start]
            if end == count or end // told > start // told:
                say(f"encoded {end:,} of {count:,} examples to latents")
        found.flush()
        return Decoded({}, about={"low": 0.0, "high": 1.0, "levels": 0})

    about = {"name": f"latents of {data.spec.name}", "of": list(data.spec.sha256), "by": sha256}
    return holding(data, cached(cache, about, make).columns["x"])
