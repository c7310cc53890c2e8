"""The network of EDM2: sizes of what goes through it and of its weights, and the published ones."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddm_jax.diffusion.conditions import Context
from ddm_jax.diffusion.noise_conds import random_waves
from ddm_jax.models.edm2_unet import EDM2UNet
from ddm_jax.models.magnitude import (
    UNIT,
    UnitAttention,
    UnitBlock,
    UnitConv,
    UnitEmbedding,
    joined,
    mixed,
    silu,
    unit,
    unit_kernel,
)
from ddm_jax.training.optim import OPTIMIZERS, Optim

pytestmark = pytest.mark.usefixtures("quick_compilation")

KEY = jax.random.key(0)


def mean_square(x):
    return float((x.astype(jnp.float32) ** 2).mean())


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize(
    ("channels", "millions"),
    [
        (128, 124.7),
        *(pytest.param(*size, marks=pytest.mark.slow) for size in [(192, 280.2), (256, 497.8)]),
        *(pytest.param(*size, marks=pytest.mark.slow) for size in [(320, 777.5), (384, 1119.3)]),
        (448, 1523.2),
    ],
)
def test_the_published_sizes(channels, millions):
    """XS to XXL on 64 x 64 latents, with the table of 1,000 classes: arXiv:2312.02696, table 6."""
    net = EDM2UNet(4, channels=channels)
    context = Context(jnp.zeros((1, net.width)))
    args = KEY, jnp.zeros((1, 64, 64, 4)), jnp.zeros(1), context
    leaves = jax.tree.leaves(jax.eval_shape(net.init, *args)["params"])
    count = sum(leaf.size for leaf in leaves) + 1000 * net.width
    assert round(count / 1e6, 1) == millions


@pytest.mark.parametrize("down", [True, False])
@pytest.mark.parametrize(("heads", "size"), [(0, 1.0), (2, 0.85)])
def test_a_block_keeps_the_size_of_its_input(down, heads, size):
    """But for attention, whose means of many values are small: 0.7^2 / (0.7^2 + 0.3^2) is left."""
    x, emb = normal(1, 8, 8, 8, 192), silu(normal(2, 8, 64))
    block = UnitBlock(256, down, heads)
    params = jax.jit(block.init)(KEY, x, emb)
    found = mean_square(jax.jit(block.apply)(params, x, emb)[:, 2:-2, 2:-2])
    assert found == pytest.approx(size, abs=0.04)


@pytest.mark.parametrize("space", [(), (16,), (8, 8), (4, 4, 4)])
def test_a_convolution_keeps_the_size_and_weights_of_any_size_do_the_same(space):
    x = normal(1, 4 if space else 400, *space, 256)
    conv = UnitConv(512, width=3 if space else 1)
    params = jax.jit(conv.init)(KEY, x)
    out = jax.jit(conv.apply)(params, x)
    inside = out[(slice(None), *[slice(1, -1)] * len(space))]
    assert mean_square(inside) == pytest.approx(1, abs=0.05)
    larger = jax.tree.map(lambda a: 7 * a, params)
    np.testing.assert_allclose(jax.jit(conv.apply)(larger, x), out, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(conv.apply(params, x, 0.5), 0.5 * out, atol=1e-5)


def test_a_convolution_is_that_of_the_kernel_divided_by_its_norms():
    import flax.linen as nn

    x = normal(1, 2, 5, 6, 3)
    conv = UnitConv(4, width=3)
    params = jax.jit(conv.init)(KEY, x)["params"]
    kernel = np.asarray(params[UNIT], np.float64) * 3.0
    norms = np.sqrt((kernel**2).sum((0, 1, 2)))
    plain = nn.Conv(4, (3, 3), use_bias=False)
    want = plain.apply({"params": {"kernel": jnp.asarray(kernel / norms, jnp.float32)}}, x)
    got = conv.apply({"params": {UNIT: params[UNIT] * 3.0}}, x)
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)


def test_sums_joins_and_nonlinearities_keep_the_size():
    a, b = normal(1, 100, 400), normal(2, 100, 100)
    assert mean_square(silu(normal(3, 1000, 1000))) == pytest.approx(1, abs=0.01)
    assert mean_square(mixed(a[:, :100], b, 0.3)) == pytest.approx(1, abs=0.03)
    whole = joined(a, b)
    assert mean_square(whole) == pytest.approx(1, abs=0.03)
    of_a, of_b = (float((part**2).sum()) for part in (whole[:, :400], whole[:, 400:]))
    assert of_a == pytest.approx(of_b, rel=0.05)
    np.testing.assert_allclose(joined(a, b, 0.0)[:, 400:], 0)
    waves = random_waves(jnp.linspace(-3, 3, 100), 2000)
    assert mean_square(waves) == pytest.approx(1, abs=0.05)
    assert mean_square(unit(5 * a, -1)) == pytest.approx(1, abs=1e-3)


def test_a_context_counts_as_much_as_the_noise_whatever_its_size():
    emb = UnitEmbedding(512, 64)
    noise_cond, vector = jnp.linspace(-2, 2, 8), normal(1, 8, 512)
    params = jax.jit(emb.init)(KEY, noise_cond, vector)
    told = emb.apply(params, noise_cond, vector)
    assert mean_square(told) == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(emb.apply(params, noise_cond, 9 * vector), told, atol=2e-3)
    assert abs(emb.apply(params, noise_cond, -vector) - told).max() > 0.5


def test_attention_goes_by_cosines():
    """Queries, keys and values of any size give the same, and two examples do not mix."""
    attention, x = UnitAttention(heads=2), normal(1, 2, 6, 16)
    params = jax.jit(attention.init)(KEY, x)
    attended = jax.jit(lambda x: attention.apply(params, x))
    out = attended(x)
    np.testing.assert_allclose(attended(5 * x), out, rtol=1e-2, atol=1e-3)
    other = attended(x.at[0].add(1.0))
    np.testing.assert_array_equal(other[1], out[1])
    assert abs(attended(x[:, ::-1])[:, ::-1] - out).max() < 1e-5  # places are not told apart


def test_blocks_are_cut_off_at_256():
    x, emb = 1e6 * normal(1, 1, 4, 4, 8), normal(2, 1, 8)
    block = UnitBlock(8, down=False)
    out = block.apply(block.init(KEY, x, emb), x, emb)
    assert abs(out).max() == 256


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_step_leaves_unit_kernels_and_moves_other_weights_as_without(name):
    """So that weights do not grow, and the rate means the same throughout."""
    settings = Optim(name=name, lr=0.05, clip=0.0)
    tx = settings.transform(10)
    plain = OPTIMIZERS[name](settings, lambda n: settings.rate(n, 10))
    params = {"a": {UNIT: unit_kernel(normal(1, 3, 3, 4, 6))}, "b": {"kernel": normal(2, 4, 6)}}
    grads = jax.tree.map(lambda a: jnp.sin(5 * a), params)
    state, other = tx.init(params), plain.init(params)
    moved = params
    for _ in range(3):
        updates, state = tx.update(grads, state, moved)
        wanted, other = plain.update(grads, other, moved)
        np.testing.assert_array_equal(updates["b"]["kernel"], wanted["b"]["kernel"])
        loose = moved["a"][UNIT] + wanted["a"][UNIT]
        moved = optax.apply_updates(moved, updates)
        square = (moved["a"][UNIT] ** 2).mean((0, 1, 2))
        np.testing.assert_allclose(square, 1, rtol=1e-3)
        lengths = jnp.sqrt((loose**2).mean((0, 1, 2)))
        np.testing.assert_allclose(moved["a"][UNIT], loose / lengths, rtol=1e-3, atol=1e-5)
    assert abs(moved["a"][UNIT] - params["a"][UNIT]).max() > 0.01


def test_the_output_starts_at_zero_and_its_gain_learns_first():
    net = EDM2UNet(2, channels=8, multipliers=(1, 2), blocks=1, attention=(2,), head_size=4)
    x, told = normal(1, 2, 4, 4, 2), jnp.array([-1.0, 0.5])
    params = jax.jit(net.init)(KEY, x, told)["params"]

    @jax.jit
    def loss(p):
        out = net.apply({"params": p}, x, told)
        return ((out - x) ** 2).mean(), out

    grads, out = jax.grad(loss, has_aux=True)(params)
    np.testing.assert_array_equal(out, 0)
    assert abs(grads.pop("out_gain")) > 0
    assert all(not leaf.any() for leaf in jax.tree.leaves(grads))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"multipliers": ()}, "multipliers"),
        ({"blocks": 0}, "blocks"),
        ({"head_size": 0}, "head_size must be"),
        ({"channels": 96, "attention": (32,)}, "head_size=64 does not divide the 96 channels"),
        ({"dtype": "float16"}, "bfloat16"),
        ({"dropout": 1.0}, r"dropout lies in \[0, 1\)"),
        ({"channels": 64, "patch": 3}, "do not divide"),
    ],
)
def test_wrong_settings_are_refused(settings, reason):
    with pytest.raises(ValueError, match=reason):
        EDM2UNet(3, **settings).check((32, 32))


def test_heads_need_to_divide_the_channels_of_levels_that_attend_alone():
    EDM2UNet(3, channels=48, multipliers=(1, 4), attention=()).check((32, 32))
    with pytest.raises(ValueError, match="does not divide the 144 channels of blocks that attend"):
        EDM2UNet(3, channels=48, multipliers=(1, 3), attention=()).check((32, 32))
