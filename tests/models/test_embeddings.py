"""What a network is told of a vector that comes with an example."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.data.columns import spec_of
from ddm_jax.diffusion.conditions import drop
from ddm_jax.models.conditions.embeddings import Embeddings, Vectors

pytestmark = pytest.mark.usefixtures("quick_compilation")

RNG = np.random.default_rng(0)
COLUMNS = {"x": np.zeros((40, 2, 2, 1), np.uint8), "embedding": RNG.normal(size=(40, 3))}
COLUMNS["embedding"] = COLUMNS["embedding"].astype(np.float32)
PLAIN, DIRECTIONS = (Embeddings(8, spec_of("x", COLUMNS), on) for on in (False, True))
PARAMS = {
    "null": RNG.normal(size=3).astype(np.float32),
    "Dense_0": {
        "kernel": RNG.normal(size=(3, 8)).astype(np.float32),
        "bias": RNG.normal(size=8).astype(np.float32),
    },
}


def told(condition, raw):
    return np.asarray(condition.embed(PARAMS, raw).vector)


def affine(v):
    """Without flax."""
    return v @ PARAMS["Dense_0"]["kernel"] + PARAMS["Dense_0"]["bias"]


def test_a_vector_is_projected_and_none_is_the_learned_one():
    raw = PLAIN.raw(COLUMNS)
    np.testing.assert_allclose(told(PLAIN, raw), affine(COLUMNS["embedding"]), atol=1e-5)
    none = told(PLAIN, PLAIN.null(2))
    np.testing.assert_allclose(none, [affine(PARAMS["null"])] * 2, atol=1e-5)
    zero = Vectors(np.zeros((1, 3), np.float32), np.ones(1, np.float32))
    assert abs(told(PLAIN, zero) - none[:1]).max() > 0.1  # a vector of zeros is one


def test_dropout_puts_the_learned_vector_in_place_of_some_and_it_learns():
    keys = jax.random.split(jax.random.key(0), 40)
    raw = drop(PLAIN, PLAIN.raw(COLUMNS), keys, 0.5)
    away = np.asarray(raw.there) == 0
    assert 8 < away.sum() < 32
    wanted = np.where(away[:, None], affine(PARAMS["null"]), affine(COLUMNS["embedding"]))
    np.testing.assert_allclose(told(PLAIN, raw), wanted, atol=1e-5)

    def total(null):
        return PLAIN.embed({**PARAMS, "null": null}, raw).vector.sum()

    slope = jax.jit(jax.grad(total))(jnp.asarray(PARAMS["null"]))
    np.testing.assert_allclose(slope, away.sum() * PARAMS["Dense_0"]["kernel"].sum(1), rtol=1e-4)


def test_of_a_normalised_vector_the_direction_alone_is_told():
    raw = DIRECTIONS.raw(COLUMNS)
    longer = raw._replace(values=raw.values * RNG.uniform(0.01, 100, (40, 1)).astype(np.float32))
    np.testing.assert_allclose(told(DIRECTIONS, longer), told(DIRECTIONS, raw), atol=1e-4)
    unit = raw.values / np.sqrt((raw.values**2).mean(1, keepdims=True))
    np.testing.assert_allclose(told(DIRECTIONS, raw), affine(unit), atol=1e-5)
    zero = Vectors(np.zeros((1, 3), np.float32), np.ones(1, np.float32))
    np.testing.assert_allclose(told(DIRECTIONS, zero), [PARAMS["Dense_0"]["bias"]], atol=1e-6)


def test_data_without_vectors_are_refused_with_the_remedies():
    bare = Embeddings(8, spec_of("bare", {"x": COLUMNS["x"]}))
    with pytest.raises(ValueError, match="bare has no vectors .* --config.data.embeddings="):
        bare.check()
    assert PLAIN.check() is None
