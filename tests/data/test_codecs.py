"""Laws of all codecs: the way there and back, what the ends become, and what cannot be decoded."""

import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.data.columns import spec_of
from ddm_jax.models.codecs import CODECS, Latent, Pixels

RNG = np.random.default_rng(0)
RANGES = {
    "bytes": (RNG.integers(0, 256, (6, 8, 5, 3), dtype=np.uint8), {}),
    "seventeen": (RNG.integers(0, 17, (6, 8, 1), dtype=np.uint8), {"high": 16.0, "levels": 17}),
    "floats": (
        RNG.uniform(-1, 1, (6, 40, 2)).astype(np.float32),
        {"kind": "wave", "low": -1.0, "high": 1.0, "levels": 0},
    ),
    "wide": (
        RNG.uniform(-300, 500, (6, 40, 1)).astype(np.float32),
        {"kind": "wave", "low": -300.0, "high": 500.0, "levels": 0},
    ),
}


@pytest.fixture(params=RANGES)
def data(request):
    values, about = RANGES[request.param]
    return values, spec_of("x", {"x": values}, **about)


@pytest.fixture(params=[name for name, row in CODECS.items() if not row.asks])
def codec(request, data):
    return CODECS[request.param](data[1])


def test_decoding_undoes_encoding(codec, data):
    """Values with levels come back in [0, 1], all others as they were, to float32 rounding."""
    values, spec = data
    x = codec.encode(values, {}, jnp.arange(len(values)))
    assert x.dtype == jnp.float32 and x.shape[1:] == codec.shape
    back = np.asarray(codec.decode(x, {}), np.float64)
    low, high = spec.low, spec.high
    expected = (values - low) / (high - low) if spec.levels else values
    np.testing.assert_allclose(back, expected, atol=3e-7 * (1 if spec.levels else high - low))


def test_encoded_values_lie_within_the_limits(codec, data):
    values, spec = data
    low, high = codec.limits()
    x = codec.encode(values, {})
    assert low.shape == high.shape == x.shape[-1:]
    assert bool((low - 1e-5 <= x).all() and (x <= high + 1e-5).all())
    for end, limit in ((spec.low, low), (spec.high, high)):
        ends = np.full(spec.shape, end, values.dtype)[None]
        np.testing.assert_allclose(codec.encode(ends, {}), jnp.broadcast_to(limit, x[:1].shape))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_hidden_and_the_rest_is_clipped(codec, data, bad):
    low, high = data[1].shown
    x = jnp.zeros((1, *codec.shape)).at[0, 0].set(bad).at[0, 1].set(1e9).at[0, 2].set(-1e9)
    seen = np.asarray(codec.decode(x, {}))[0]
    assert np.isnan(seen[0]).all() and (seen[1] == high).all() and (seen[2] == low).all()


def test_a_unit_scaling_leaves_floats_of_unit_range_alone():
    """Nothing is divided by 255: x is the value itself."""
    values, about = RANGES["floats"]
    x = Pixels(spec_of("x", {"x": values}, **about)).encode(values, {})
    np.testing.assert_array_equal(x, values)


@pytest.mark.parametrize("name", RANGES)
def test_pixels_fill_the_unit_range_or_are_standardised(name):
    values, about = RANGES[name]
    spec = spec_of("x", {"x": values}, **about)
    unit, fitted = (Pixels(spec, scaling) for scaling in ("unit", "fitted"))
    for limit, end in zip(unit.limits(), (-1, 1), strict=True):
        np.testing.assert_allclose(limit, end, atol=1e-6)
    x = np.asarray(fitted.encode(values, {}), np.float64)
    axes = tuple(range(x.ndim - 1))
    np.testing.assert_allclose(x.mean(axes), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(axes), 1, atol=1e-5)
    with pytest.raises(ValueError, match="'unit' or 'fitted'"):
        Pixels(spec, "half")


def test_latents_that_nothing_makes_are_refused_with_the_remedy(data):
    """Their laws stand in tests/tasks/test_autoencoder.py, where there is an autoencoder."""
    with pytest.raises(ValueError, match="--config.codec.latent.run="):
        Latent(data[1])
