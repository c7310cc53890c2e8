"""The laws of every row of MODELS, and the published sizes of the classic networks."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.diffusion.conditions import NO_CONTEXT
from ddm_jax.models import MODELS
from ddm_jax.models.ddm_unet import DDMUNet
from ddm_jax.models.dropout import own_masks
from ddm_jax.models.layers import frequency_embedding
from ddm_jax.models.mlp import MLP
from ddm_jax.models.resampling import downsample, pool_max
from ddm_jax.models.residual_mlp import ResidualMLP
from ddm_jax.models.vanilla_unet import VanillaUNet

pytestmark = pytest.mark.usefixtures("quick_compilation")

SMALL = {
    "ddpm_unet": dict(channels=8, multipliers=(1, 2), blocks=1, attention=()),
    "edm2_unet": dict(channels=8, multipliers=(1, 2), blocks=1, attention=(2,), head_size=4),
    "ddm_unet": dict(channels=(8, 12), depth=1),
    "vanilla_unet": dict(channels=(8, 12), noise_level=True),
    "mlp": dict(hidden=(16, 16)),
    "residual_mlp": dict(channels=16, depth=2, dropout=0.1),
    # Turned, since a bias of keys has no effect where they are not.
    "dit": dict(channels=16, depth=1, heads=2, position="rope", qk_norm=True, dropout=0.1),
}
every_model = pytest.mark.parametrize("name", MODELS)


def awake(module, x, label):
    """Weights without the zeros that layers start with, so that every path matters."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), x, label)["params"]
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        scale = path[-1].key == "scale"
        return jnp.asarray(scale + 0.2 * rng.normal(size=leaf.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.fixture(scope="module")
def built():
    """Of each row: (module, weights, x, label, its compiled function)."""
    x = jax.random.normal(jax.random.key(1), (3, 4, 4, 2))
    label = jnp.array([0.1, 0.4, 0.8])
    rows = {}
    for name, cls in MODELS.items():
        module = cls(4, **SMALL.get(name, {}))
        params = awake(module, x, label)
        run = jax.jit(lambda p, x, label, m=module: m.apply({"params": p}, x, label))
        rows[name] = module, params, x, label, run
    return rows


@every_model
def test_no_network_leaves_few_pixels_to_the_slow_loop(built, name):
    """XLA's for CPUs, where a convolution has more taps than there are pixels."""
    _, *given, run = built[name]
    text = run.lower(*given).as_text()
    assert not re.findall(r"convolution.*\(tensor<3x2x2x\d+xf32>, tensor<3x3x", text)


@pytest.mark.parametrize("shape", [(2, 8, 3), (2, 4, 6, 3), (1, 2, 4, 6, 1)])
@pytest.mark.parametrize(("pool", "of_block"), [(downsample, np.mean), (pool_max, np.max)])
def test_pooling_takes_the_mean_or_maximum_of_blocks(pool, of_block, shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    got = np.asarray(pool(jnp.asarray(x)))
    assert got.shape == (shape[0], *(n // 2 for n in shape[1:-1]), shape[-1])
    for where in np.ndindex(*got.shape[1:-1]):
        block = x[:, *(slice(2 * k, 2 * k + 2) for k in where)]
        expected = of_block(block, axis=tuple(range(1, x.ndim - 1)))
        np.testing.assert_allclose(got[:, *where], expected, atol=1e-6)


@every_model
def test_the_output_has_the_shape_of_the_input_and_is_float32(built, name):
    module, params, x, label, run = built[name]
    out = run(params, x, label)
    assert out.shape == (3, 4, 4, 4) and out.dtype == jnp.float32
    assert 0 < abs(out).max() < jnp.inf
    module.check((4, 4))


@every_model
def test_an_output_depends_on_its_own_image_and_level_alone(built, name):
    _, params, x, label, run = built[name]
    out, other = run(params, x, label), run(params, x.at[0].add(1.0), label.at[1].add(0.3))
    np.testing.assert_allclose(other[2], out[2], atol=1e-6)
    assert (abs(other - out).max(axis=(1, 2, 3))[:2] > 1e-3).all()


@every_model
def test_every_parameter_matters(built, name):
    module, params, x, label, _ = built[name]
    loss = jax.jit(jax.grad(lambda p: (module.apply({"params": p}, x, label) ** 2).sum()))
    for path, leaf in jax.tree_util.tree_leaves_with_path(loss(params)):
        assert abs(leaf).max() > 0, jax.tree_util.keystr(path)


@pytest.mark.slow
@every_model
def test_dropout_acts_in_training_only(built, name):
    module, params, x, label, run = built[name]
    module = module.clone(dropout=0.5) if module.dropout else module
    rngs = own_masks(jax.random.split(jax.random.key(3), len(x)))
    trained = module.apply({"params": params}, x, label, NO_CONTEXT, True, rngs=rngs)
    assert bool(abs(trained - run(params, x, label)).max() > 1e-3) == bool(module.dropout)


def count(module, *size):
    x = jnp.zeros((1, *size))
    params = jax.eval_shape(module.init, jax.random.key(0), x, jnp.zeros(1))["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_published_sizes():
    """Sums of (taps x inputs + 1) x outputs over the layers as the texts list them."""
    assert count(MLP(1), 28, 28, 1) == 785 * 512 + 512 + 513 * 512 + 513 * 784

    def pair(a, b):
        return (9 * a + 1) * b + (9 * b + 1) * b

    widths = [1, 64, 128, 256, 512, 1024]
    down = sum(pair(a, b) for a, b in zip(widths, widths[1:], strict=False))
    up = sum((4 * 2 * w + 1) * w + pair(2 * w, w) for w in widths[1:-1])
    assert count(VanillaUNet(1), 64, 64, 1) == down + up + 65

    def block(a, b):
        shortcut = 0 if a == b else (a + 1) * b
        return shortcut + 2 * a + pair(a, b)

    inputs = [32 + 32, 32, 32, 64, 64, 96, 96, 128]  # of the blocks on the way down
    outputs = [32, 32, 64, 64, 96, 96, 128, 128]
    total = sum(map(block, inputs, outputs)) + 4 * 32 + 33 * 3
    for width, below in ((96, 128), (64, 96), (32, 64)):
        total += block(below + width, width) + block(2 * width, width)
    assert count(DDMUNet(3), 64, 64, 3) == total


@pytest.mark.parametrize(
    ("cls", "size"), [(VanillaUNet, (8,)), (DDMUNet, (8,)), (DDMUNet, (4, 4, 4))], ids=repr
)
def test_unets_take_any_number_of_spatial_dimensions(cls, size):
    module, x = cls(2, channels=(8, 8)), jnp.zeros((2, *size, 2))
    shapes = jax.eval_shape(module.init_with_output, jax.random.key(0), x, jnp.zeros(2))
    assert shapes[0].shape == x.shape


def test_without_a_noise_level_the_plain_unet_ignores_the_label():
    module, x = (
        VanillaUNet(1, channels=(8, 8)),
        jax.random.normal(jax.random.key(0), (2, 4, 4, 1)),
    )
    params = awake(module, x, jnp.zeros(2))
    a, b = (module.apply({"params": params}, x, jnp.full(2, t)) for t in (0.0, 0.7))
    np.testing.assert_array_equal(a, b)


def test_frequencies_go_from_one_turn_to_the_highest():
    label = jnp.linspace(0.0, 1.0, 7)
    out = np.asarray(frequency_embedding(label, 32, 1000.0))
    np.testing.assert_allclose(out[:, 0], np.sin(2 * np.pi * np.linspace(0, 1, 7)), atol=1e-6)
    angle = 2 * np.pi * np.float64(label)[:, None] * 1000 ** (np.arange(16) / 15)
    np.testing.assert_allclose(out, np.hstack([np.sin(angle), np.cos(angle)]), atol=2e-3)


def test_the_output_of_the_mlp_lies_in_as_many_dimensions_as_its_last_layer_is_wide():
    module, x = MLP(1, hidden=(32, 5)), jax.random.normal(jax.random.key(0), (64, 6, 6, 1))
    label = jnp.zeros(64)
    out = module.apply({"params": awake(module, x, label)}, x, label).reshape(64, -1)
    assert np.linalg.matrix_rank(np.asarray(out - out.mean(0)), tol=1e-3) == 5


@pytest.mark.parametrize(
    ("module", "space", "remedy"),
    [
        (VanillaUNet(1), (28, 28), "set data.size to a multiple of 16"),
        (VanillaUNet(1, channels=()), (28, 28), "one positive number a level"),
        (VanillaUNet(1, dropout=1.0), (64, 64), "dropout lies in"),
        (DDMUNet(1), (28, 28), "set data.size to a multiple of 8"),
        (DDMUNet(1, depth=0), (32, 32), "must be at least 1"),
        (DDMUNet(1, embedding=3), (32, 32), "an even number from 4 on"),
        (MLP(1, hidden=()), (4, 4), "at least one layer"),
        (VanillaUNet(1), (), "take.* model.name=residual_mlp"),
        (DDMUNet(1), (), "take.* model.name=residual_mlp"),
        (ResidualMLP(1, depth=0), (), "at least one block"),
        (ResidualMLP(1, channels=5), (), "an even number from 4 on"),
        (ResidualMLP(1, dropout=1.0), (), "dropout lies in"),
    ],
)
def test_impossible_settings_are_refused_with_the_remedy(module, space, remedy):
    with pytest.raises(ValueError, match=remedy):
        module.check(space)
