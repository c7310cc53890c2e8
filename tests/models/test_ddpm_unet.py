"""The U-Net: the published network, its options, and any number of dimensions."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.diffusion.conditions import NO_CONTEXT, Context
from ddm_jax.models.ddpm_unet import DDPMUNet
from ddm_jax.models.dropout import own_masks
from ddm_jax.models.layers import Norm, ThroughTime, sinusoidal_embedding
from ddm_jax.models.levels import Levels
from ddm_jax.models.resampling import depth_to_space, space_to_depth

pytestmark = pytest.mark.usefixtures("quick_compilation")

SMALL = dict(channels=16, multipliers=(1, 2), blocks=1, attention=(4,), dropout=0.0)


@functools.cache
def compiled(module):
    return jax.jit(lambda params, *inputs: module.apply({"params": params}, *inputs))


def apply(module, params, x, *rest):
    return compiled(module)(params, x, *rest)


def grad(module, params, x, *rest):
    """Gradient of the sum of squared outputs."""
    return jax.jit(jax.grad(lambda p: (module.apply({"params": p}, x, *rest) ** 2).sum()))(params)


def shapes_of(module, *size):
    x = jnp.zeros((1, *size))
    return jax.eval_shape(module.init, jax.random.key(0), x, jnp.zeros(1))["params"]


def awake(module, x, *rest):
    """Random parameters, without the zeros that layers start with, so that every path matters."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        scale = path[-1].key == "scale"
        return jnp.asarray(scale + 0.15 * rng.normal(size=leaf.shape), jnp.float32)

    shapes = jax.eval_shape(module.init, jax.random.key(0), x, *rest)["params"]
    return jax.tree_util.tree_map_with_path(draw, shapes)


def test_published_cifar_network_has_35746307_parameters():
    params = shapes_of(DDPMUNet(3), 32, 32, 3)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 35_746_307


def test_published_cifar_network_layer_for_layer():
    """Block widths as in Ho et al. 2020: every stage's (in, out), and where attention stands."""
    params = shapes_of(DDPMUNet(3), 32, 32, 3)
    blocks = {
        name: (p["conv1"]["conv"]["kernel"].shape[2], p["conv2"]["conv"]["kernel"].shape[3])
        for name, p in params.items()
        if "block" in name
    }
    down = [(128, 128), (128, 128), (128, 256), (256, 256)] + 4 * [(256, 256)]
    up = {3: 3 * [(512, 256)], 2: 3 * [(512, 256)], 1: [(512, 256), (512, 256), (384, 256)]}
    up[0] = [(384, 128), (256, 128), (256, 128)]
    expected = {f"down{i // 2}_block{i % 2}": widths for i, widths in enumerate(down)}
    expected |= {"middle_block0": (256, 256), "middle_block1": (256, 256)}
    expected |= {f"up{level}_block{i}": w for level in up for i, w in enumerate(up[level])}
    assert blocks == expected
    attention = {name for name in params if "attention" in name}
    assert attention == {
        "middle_attention",
        "down1_attention0",
        "down1_attention1",
        "up1_attention0",
        "up1_attention1",
        "up1_attention2",
    }
    resample = {name: p["conv"]["kernel"].shape for name, p in params.items() if "resample" in name}
    assert resample.keys() == {f"down{i}_resample" for i in (0, 1, 2)} | {
        f"up{i}_resample" for i in (1, 2, 3)
    }
    assert params["emb1"]["kernel"].shape == (128, 512)
    assert params["emb2"]["kernel"].shape == (512, 512)
    assert params["conv_in"]["conv"]["kernel"].shape == (3, 3, 3, 128)
    assert params["conv_out"]["conv"]["kernel"].shape == (3, 3, 128, 3)
    assert set(params) - set(blocks) - attention - set(resample) == {
        "emb1",
        "emb2",
        "conv_in",
        "conv_out",
        "norm_out",
    }


def test_the_output_is_zero_at_initialisation():
    module = DDPMUNet(3, **SMALL)
    x = jax.random.normal(jax.random.key(2), (2, 8, 8, 3))
    fresh = jax.jit(module.init)(jax.random.key(0), x, jnp.zeros(2))["params"]
    out = apply(module, fresh, x, jnp.zeros(2))
    assert out.shape == x.shape and (out == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"scale_shift": True, "heads": 4},
        {"resample": "block", "blocks": 2},
        {"patch": 2},
    ],
    ids=repr,
)
def test_options_keep_the_shape_and_use_every_parameter(options):
    module = DDPMUNet(3, **{**SMALL, **options})
    x = jax.random.normal(jax.random.key(2), (2, 8, 8, 3))
    vector = jax.random.normal(jax.random.key(3), (2, module.width))
    rest = (jnp.array([3.0, 700.0]), Context(vector))
    module.check((8, 8))
    assert jax.eval_shape(module.apply, {"params": awake(module, x, *rest)}, x, *rest).shape == (
        x.shape
    )
    grads = grad(module, awake(module, x, *rest), x, *rest)
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        assert abs(leaf).max() > 0, jax.tree_util.keystr(path)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(16,), (8, 8), (8, 8, 4)], ids=repr)
def test_any_number_of_spatial_dimensions(size):
    module = DDPMUNet(2, **SMALL, patch=2)
    module.check(size)
    x = jax.random.normal(jax.random.key(2), (2, *size, 2))
    out = apply(module, awake(module, x, jnp.zeros(2)), x, jnp.zeros(2))
    assert out.shape == x.shape and jnp.isfinite(out).all()


def test_the_output_depends_on_the_noise_and_on_the_vector_of_the_context():
    module = DDPMUNet(1, **SMALL)
    x, noise = jnp.ones((1, 8, 8, 1)), jnp.array([5.0])
    told = Context(jax.random.normal(jax.random.key(1), (1, module.width)))
    params = awake(module, x, noise)
    base = apply(module, params, x, noise, told)
    assert abs(apply(module, params, x, noise + 100, told) - base).max() > 1e-3
    assert abs(apply(module, params, x, noise, Context(told.vector + 1)) - base).max() > 1e-3
    nothing = apply(module, params, x, noise, Context(jnp.zeros_like(told.vector)))
    np.testing.assert_array_equal(apply(module, params, x, noise), nothing)


@pytest.mark.slow
def test_remat_changes_memory_and_not_the_gradient():
    x, label = jax.random.normal(jax.random.key(2), (2, 8, 8, 1)), jnp.ones(2)
    plain, remat = (DDPMUNet(1, **SMALL, remat=r) for r in (False, True))
    params = awake(plain, x, label)
    grads = [jax.tree.leaves(grad(module, params, x, label)) for module in (plain, remat)]
    rounding = 1e-6 * max(abs(leaf).max() for leaf in grads[0])
    for a, b in zip(*grads, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=rounding)


def test_bfloat16_computes_with_float32_parameters_and_output():
    x, label = jax.random.normal(jax.random.key(2), (2, 8, 8, 1)), jnp.ones(2)
    full, half = (DDPMUNet(1, **SMALL, dtype=d) for d in ("float32", "bfloat16"))
    params = awake(half, x, label)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    a, b = (apply(m, params, x, label) for m in (full, half))
    assert b.dtype == jnp.float32
    assert 0 < abs(a - b).max() < 0.1 * abs(a).max()


def test_dropout_acts_in_training_only():
    module = DDPMUNet(1, **{**SMALL, "dropout": 0.5})
    x, label = jnp.ones((1, 8, 8, 1)), jnp.ones(1)
    params = awake(module, x, label)
    still = [apply(module, params, x, label) for _ in range(2)]
    np.testing.assert_array_equal(*still)

    @jax.jit
    def trained(key):
        rngs = own_masks(key[None])
        return module.apply({"params": params}, x, label, NO_CONTEXT, True, rngs=rngs)

    one, two = (trained(jax.random.key(k)) for k in range(2))
    assert abs(one - two).max() > 1e-3


@pytest.mark.parametrize("size", [(4,), (4, 6), (2, 4, 6)])
def test_depth_to_space_inverts_space_to_depth_and_keeps_blocks_together(size):
    x = jnp.arange(2 * np.prod(size) * 3, dtype=jnp.float32).reshape(2, *size, 3)
    deep = space_to_depth(x, 2)
    assert deep.shape == (2, *(s // 2 for s in size), 3 * 2 ** len(size))
    np.testing.assert_array_equal(depth_to_space(deep, 2), x)
    corner = x[(0, *(slice(0, 2),) * len(size))]
    np.testing.assert_array_equal(deep[(0, *(0,) * len(size))], corner.reshape(-1))


def test_sinusoidal_embedding_values():
    """Channel i is sin(t 10000^(-i / 3)) for half = 4, then the cosines."""
    got = sinusoidal_embedding(jnp.array([2.0]), 8)[0]
    angles = 2.0 * 10000.0 ** (-np.arange(4) / 3)
    np.testing.assert_allclose(got, [*np.sin(angles), *np.cos(angles)], rtol=1e-5)


@pytest.mark.parametrize(
    "options, size, message",
    [
        ({}, (30, 30), "set data.size to a multiple of 8"),
        ({"patch": 2}, (28, 28), "multiple of 16"),
        ({"heads": 3}, (32, 32), "heads=3"),
        ({"resample": "pool"}, (32, 32), "'conv' or 'block'"),
        ({"dtype": "float16"}, (32, 32), "'float32' or 'bfloat16'"),
        ({"dropout": 1.0}, (32, 32), "dropout"),
        ({"channels": 5}, (32, 32), "even"),
        ({"multipliers": ()}, (32, 32), "at least 1"),
        ({"space_time": "apart"}, (32, 32), "one of joint, factorised, not 'apart'"),
        ({"space_time": "factorised"}, (32,), "two axes or more, as clips are"),
        ({"space_time": "factorised"}, (8, 30, 30), "set data.size to a multiple of 8"),
    ],
)
def test_impossible_settings_are_refused_with_the_remedy(options, size, message):
    with pytest.raises(ValueError, match=message):
        DDPMUNet(3, **options).check(size)
    DDPMUNet(3, multipliers=(1, 2, 2)).check((28, 28))
    DDPMUNet(3, space_time="factorised").check((5, 32, 32))


CLIPS = DDPMUNet(2, **SMALL, space_time="factorised")
FRAMES = DDPMUNet(2, **SMALL)


def clips_and_told(frames=5, side=8):
    keys = jax.random.split(jax.random.key(3), 4)
    x = jax.random.normal(keys[0], (2, frames, side, side, 2))
    context = Context(
        vector=jax.random.normal(keys[1], (2, CLIPS.width)),
        sequence=jax.random.normal(keys[2], (2, 3, 6)),
        mask=jnp.array([[True, True, False], [True, False, False]]),
        gap=jnp.array([0.2, 0.4]),
    )
    return x, jnp.array([3.0, 7.0]), context


def silenced(params, *names):
    """The parameters with those below such names at 0."""

    def own(path, leaf):
        return leaf * 0 if any(name in "/".join(k.key for k in path) for name in names) else leaf

    return jax.tree_util.tree_map_with_path(own, params)


def test_without_time_a_factorised_network_is_the_plain_one_of_each_frame():
    """All parameters of frames are those of the plain network, which sees each frame by itself."""
    x, noise_cond, context = clips_and_told()
    params = silenced(
        awake(CLIPS, x, noise_cond, context), "_time/proj", "_time/conv", "frame1", "frame3"
    )
    own = {n: p for n, p in params.items() if "_time" not in n and not n.startswith("frame")}
    assert own.keys() == shapes_of_frames(context).keys()
    each = jax.tree.map(lambda a: jnp.repeat(a, x.shape[1], 0), (noise_cond, context))
    expected = apply(FRAMES, own, x.reshape(-1, *x.shape[2:]), *each).reshape(x.shape)
    got = apply(CLIPS, params, x, noise_cond, context)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert abs(got).max() > 0.1


def shapes_of_frames(context):
    x, one = jnp.zeros((2, 8, 8, 2)), jnp.zeros(2)
    return jax.eval_shape(FRAMES.init, jax.random.key(0), x, one, context)["params"]


def test_frames_of_a_clip_know_of_each_other_and_of_their_order():
    x, noise_cond, context = clips_and_told()
    params, back = awake(CLIPS, x, noise_cond, context), x[:, ::-1]

    def out(params, x):
        return apply(CLIPS, params, x, noise_cond, context)

    moved = abs(out(params, x.at[:, 4].add(1.0)) - out(params, x))
    assert moved.max((2, 3, 4)).min() > 1e-3  # every frame of both clips
    told = silenced(params, "_time/conv")  # which tells before from after too
    assert abs(out(told, back)[:, ::-1] - out(told, x)).max() > 1e-2
    placeless = silenced(params, "frame1", "_time/conv")
    np.testing.assert_allclose(out(placeless, back)[:, ::-1], out(placeless, x), atol=2e-5)


class Embedding(nn.Module):
    """The embedding of three frames of each clip alone."""

    @nn.compact
    def __call__(self, noise_cond, vector):
        return Levels.of(CLIPS, Context(vector=vector), frames=3).embed(noise_cond)


def test_place_and_condition_are_told_together():
    """As a motion is; where both were added, their second difference would be 0."""
    vectors = jnp.repeat(jax.random.normal(jax.random.key(0), (2, CLIPS.width)), 3, 0)
    params = awake(Embedding(), jnp.zeros(6), vectors)
    emb = apply(Embedding(), params, jnp.zeros(6), vectors).reshape(2, 3, -1)
    second = emb[0, 1] - emb[0, 0] - emb[1, 1] + emb[1, 0]
    assert abs(second).max() > 0.1


class Attending(nn.Module):
    """The attention of a level alone, on frames (B T, *space, C)."""

    @nn.compact
    def __call__(self, h):
        return Levels.of(CLIPS, frames=3).attend(h, "level")


def test_attention_through_time_is_of_one_position_of_one_clip():
    h = jax.random.normal(jax.random.key(0), (6, 4, 2, 16))
    params = silenced(awake(Attending(), h), "level/proj")
    moved = abs(apply(Attending(), params, h.at[4, 3, 1, 2].add(1)) - apply(Attending(), params, h))
    seen = (moved.max(-1) > 1e-4).reshape(2, 3, 4, 2)
    expected = np.zeros_like(seen)
    expected[1, :, 3, 1] = True
    np.testing.assert_array_equal(seen, expected)


def test_a_convolution_through_time_is_of_one_position_and_its_neighbours_in_time():
    """And, with three taps at the middle one, the convolution of jax.lax over (T, places)."""
    h = jax.random.normal(jax.random.key(0), (8, 2, 3, 8))
    module = ThroughTime(frames=4)
    params = awake(module, h)
    got = apply(module, params, h) - h
    moved = abs(apply(module, params, h.at[5, 1, 2].set(3.0)) - h.at[5, 1, 2].set(3.0) - got)
    assert (moved[:4] < 1e-6).all() and (moved[7] < 1e-6).all() and moved[4:7].max((1, 2, 3)).all()
    normed = nn.swish(Norm().apply({"params": {"norm": params["norm"]["norm"]}}, h))
    rows = normed.reshape(2, 4, 6, 8).swapaxes(1, 2).reshape(12, 4, 8)
    kernel = params["conv"]["kernel"].reshape(3, 8, 8)
    out = jax.lax.conv_general_dilated(
        rows, kernel, (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC")
    )
    out = (out + params["conv"]["bias"]).reshape(2, 6, 4, 8).swapaxes(1, 2).reshape(h.shape)
    np.testing.assert_allclose(got, out, rtol=1e-4, atol=1e-5)


def test_clips_of_a_batch_stay_apart():
    x, noise_cond, context = clips_and_told()
    params = awake(CLIPS, x, noise_cond, context)
    alone = apply(CLIPS, params, x[:1], noise_cond[:1], jax.tree.map(lambda a: a[:1], context))
    both = apply(CLIPS, params, x, noise_cond, context)
    np.testing.assert_allclose(both[:1], alone, rtol=1e-4, atol=1e-5)


def test_a_clip_is_of_any_length():
    """Parameters fit clips of other lengths, whose places they are told."""
    x, noise_cond, context = clips_and_told()
    params = awake(CLIPS, x, noise_cond, context)
    assert apply(CLIPS, params, x[:, :3], noise_cond, context).shape == (2, 3, 8, 8, 2)
