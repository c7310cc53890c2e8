"""PSNR and SSIM against their definitions, written out place by place."""

import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.tasks.similarity import psnr, ssim

RNG = np.random.default_rng(0)
A = RNG.uniform(size=(3, 13, 12, 2)).astype(np.float32)
B = np.clip(A + 0.2 * RNG.normal(size=A.shape), 0, 1).astype(np.float32)
LOW = {"unit": (0.0, 1.0), "bytes": (0.0, 255.0), "signed": (-1.0, 2.0)}


@pytest.mark.parametrize("name", LOW)
def test_psnr_is_its_definition_in_any_range(name):
    low, width = LOW[name]
    square = ((A.astype(float) - B) ** 2).reshape(3, -1).mean(1)
    found = psnr(jnp.asarray(low + width * A), jnp.asarray(low + width * B), width)
    np.testing.assert_allclose(found, -10 * np.log10(square), rtol=1e-5)


def test_equal_examples_have_the_highest_likeness_and_it_is_finite():
    same = jnp.asarray(A)
    np.testing.assert_allclose(psnr(same, same, 1.0), 100, rtol=1e-6)
    np.testing.assert_allclose(ssim(same, same, 1.0), 1, atol=1e-5)


def slow_ssim(a, b, width):
    """Of two channels (H, W), a window at a time, in float64."""
    away = np.arange(-5, 6)
    window = np.exp(-(away[:, None] ** 2 + away**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2, found = (0.01 * width) ** 2, (0.03 * width) ** 2, []
    for i, j in np.ndindex(a.shape[0] - 10, a.shape[1] - 10):
        p, q = (c[i : i + 11, j : j + 11].astype(np.float64) for c in (a, b))
        mp, mq = (window * p).sum(), (window * q).sum()
        vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
        both = (window * (p - mp) * (q - mq)).sum()
        above = (2 * mp * mq + c1) * (2 * both + c2)
        found.append(above / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return np.mean(found)


@pytest.mark.parametrize("width", [1.0, 255.0])
def test_ssim_is_its_definition_window_by_window(width):
    expected = [
        np.mean([slow_ssim(width * a[..., c], width * b[..., c], width) for c in range(2)])
        for a, b in zip(A, B, strict=True)
    ]
    found = ssim(jnp.asarray(width * A), jnp.asarray(width * B), width)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert 0.3 < min(expected) < max(expected) < 0.95


def test_ssim_is_its_definition_where_examples_are_dark():
    """And one darker than the other: where the constant beside the means weighs most."""
    a, b = 0.03 * A[:1, ..., :1], 0.01 * B[:1, ..., :1]
    expected = slow_ssim(a[0, ..., 0], b[0, ..., 0], 1.0)
    np.testing.assert_allclose(ssim(jnp.asarray(a), jnp.asarray(b), 1.0), expected, rtol=1e-4)


def test_ssim_keeps_its_digits_where_examples_are_bright_and_flat():
    """Variances of 1e-6 about a mean of 0.9, whose square is a million times as large."""
    a, b = (0.9 + 1e-3 * c[:1, ..., :1] for c in (A, B))
    expected = slow_ssim(a[0, ..., 0], b[0, ..., 0], 0.01)
    np.testing.assert_allclose(ssim(jnp.asarray(a), jnp.asarray(b), 0.01), expected, rtol=1e-3)


def test_ssim_of_what_is_smaller_than_its_window_is_refused():
    small = jnp.zeros((1, 13, 10, 1))
    with pytest.raises(ValueError, match="images of 13x10 are smaller"):
        ssim(small, small, 1.0)
