"""Outputs of a network are a function of as many numbers as it says."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.models import MODELS

NARROW = {
    "mlp": ({"hidden": (9, 5)}, (2, 4, 1), 5),
    "residual_mlp": ({"channels": 6, "depth": 1}, (2, 4, 1), 6),
    "dit": ({"channels": 8, "depth": 1, "heads": 2, "patch": 4}, (4, 8, 1), 14),
    "ddpm_unet": (
        {"channels": 4, "multipliers": (1, 2), "blocks": 1, "attention": (), "patch": 4},
        (8, 8, 1),
        16,
    ),
    "edm2_unet": (
        {"channels": 4, "multipliers": (1, 2), "blocks": 1, "attention": (), "patch": 4},
        (8, 8, 1),
        16,
    ),
    "vanilla_unet": ({"channels": (2,)}, (4, 4, 3), 32),
    "ddm_unet": ({"channels": (2,), "depth": 1, "embedding": 4}, (4, 4, 3), 32),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_rank_is_that_of_what_the_network_puts_out(name, quick_compilation):
    """Outputs of many inputs, with random weights, span so many dimensions around their mean."""
    settings, shape, rank = NARROW[name]
    net = MODELS[name](out_channels=shape[-1], **settings)
    assert net.rank(shape) == rank
    key = jax.random.key(0)
    count = 3 * math.prod(shape)
    x, told = 3 * jax.random.normal(key, (count, *shape)), jnp.full(count, 0.5)
    shapes = jax.eval_shape(net.init, key, x[:1], told[:1])
    leaves, tree = jax.tree.flatten(shapes)
    keys = jax.random.split(key, len(leaves))
    params = tree.unflatten(
        [0.5 * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
    )
    out = np.asarray(jax.jit(net.apply)(params, x, told), np.float64).reshape(count, -1)
    sizes = np.linalg.svd(out - out.mean(0), compute_uv=False)
    assert (sizes > 1e-4 * sizes[0]).sum() == rank


def test_an_mlp_is_as_wide_as_its_narrowest_layer():
    assert MODELS["mlp"](out_channels=1, hidden=(5, 9)).rank((2, 4, 1)) == 5


def test_frames_have_a_rank_each():
    net = MODELS["ddpm_unet"](
        out_channels=1, channels=4, multipliers=(1, 2), patch=4, space_time="factorised"
    )
    assert net.rank((3, 8, 8, 1)) == 3 * net.clone(space_time="joint").rank((8, 8, 1)) == 48


def test_a_wide_network_fills_all():
    for name in ("dit", "ddpm_unet"):
        assert MODELS[name](out_channels=3, patch=2).rank((8, 8, 3)) == 192
    for name in ("vanilla_unet", "ddm_unet"):
        assert MODELS[name](out_channels=3).rank((8, 8, 3)) == 192
