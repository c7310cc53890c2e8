"""Captions as a condition: tokens, the encoder, and the attention that reads it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.data.columns import spec_of
from ddm_jax.diffusion.conditions import Context
from ddm_jax.models.conditions.text import FIRST, START, Text
from ddm_jax.models.ddpm_unet import DDPMUNet
from ddm_jax.models.layers import Attention

pytestmark = pytest.mark.usefixtures("quick_compilation")

COLUMNS = {"x": np.zeros((2, 4, 4, 1), np.uint8), "text": np.array(["a red dot", "ein Käfer"])}
SPEC = spec_of("captions", COLUMNS)
TEXT = Text(8, SPEC, length=24, channels=12, depth=2, heads=3)
RED, BLUE = "red on blue", "blue on red"


def random(tree, seed=0):
    """Weights drawn anew, so that every path matters."""
    leaves, structure = jax.tree.flatten(tree)
    rng = np.random.default_rng(seed)
    return structure.unflatten([jnp.asarray(rng.normal(size=a.shape) / 3) for a in leaves])


@pytest.fixture(scope="module")
def params():
    return random(TEXT.init(jax.random.key(0)))


@pytest.fixture(scope="module")
def embed():
    return jax.jit(TEXT.embed)


def test_tokens_are_the_bytes_of_a_text_after_a_start():
    ids = TEXT.columns(COLUMNS)["tokens"]
    assert ids.shape == (2, 24) and ids.dtype == np.int32
    for row, text in zip(ids, COLUMNS["text"], strict=True):
        some = row[row > 0]
        assert some[0] == START and bytes((some[1:] - FIRST).tolist()).decode() == text
        assert (row[len(some) :] == 0).all()
    np.testing.assert_array_equal(TEXT.null(2), TEXT.ask(["", ""]))
    assert TEXT.names(COLUMNS) == ["a red dot", "ein Käfer"]


def test_a_text_that_is_too_long_is_refused_and_the_longest_is_not():
    assert (TEXT.ask(["x" * 23]) > 0).all()
    with pytest.raises(
        ValueError, match="24 bytes, and condition.text.length=24 leaves room for 23"
    ):
        TEXT.ask(["fine", "x" * 24])
    with pytest.raises(ValueError, match="12 bytes"):
        Text(8, SPEC, length=12).ask(["ä" * 6])


def test_an_encoding_knows_the_order_of_words(params, embed):
    told = embed(params, TEXT.ask([RED, BLUE, RED]))
    assert told.vector.shape == (3, 8) and told.sequence.shape == (3, 24, 12)
    np.testing.assert_array_equal(told.mask.sum(1), [12, 12, 12])
    np.testing.assert_array_equal(told.vector[0], told.vector[2])
    assert abs(told.vector[0] - told.vector[1]).max() > 1e-2
    assert abs(told.sequence[0] - told.sequence[1])[:12].max() > 1e-2


def test_what_stands_after_the_end_changes_nothing_before_it(params, embed):
    """Neither the vector nor the sequence within the mask, whatever the embedding of id 0."""
    ids = TEXT.ask([RED])
    other = jax.tree.map(jnp.copy, params)
    other["table"]["embedding"] = other["table"]["embedding"].at[0].set(jnp.arange(12.0))
    one, two = embed(params, ids), embed(other, ids)
    np.testing.assert_array_equal(one.vector, two.vector)
    np.testing.assert_array_equal(one.sequence[:, :12], two.sequence[:, :12])
    assert abs(one.sequence - two.sequence).max() > 1e-2


def attended(params, x, sequence, mask, heads):
    """The layer in NumPy, float64: groups of 4 channels are normed, then all attend."""
    channels, rows = x.shape[-1], []
    groups = x.reshape(len(x), -1, channels // 4, 4)
    mean = groups.mean((1, 3), keepdims=True)
    std = np.sqrt(groups.var((1, 3), keepdims=True) + 1e-6)
    normed = ((groups - mean) / std).reshape(len(x), -1, channels)
    norm = params["norm"]["norm"]
    normed = normed * norm["scale"] + norm["bias"]

    def dense(name, a):
        return a @ np.asarray(params[name]["kernel"], np.float64) + params[name]["bias"]

    for i in range(len(x)):
        told = sequence[i][mask[i]]
        q, k, v = (dense(name, normed[i]) for name in "qkv")
        k = np.concatenate([k, dense("k_context", told)])
        v = np.concatenate([v, dense("v_context", told)])
        each, parts = channels // heads, []
        for n in range(heads):
            cut = slice(n * each, (n + 1) * each)
            score = np.exp(q[:, cut] @ k[:, cut].T / np.sqrt(each))
            parts.append(score / score.sum(1, keepdims=True) @ v[:, cut])
        rows.append(dense("proj", np.concatenate(parts, 1)))
    return x + np.stack(rows).reshape(x.shape)


def test_attention_is_over_positions_and_the_sequence_within_its_mask():
    rng = np.random.default_rng(0)
    x, sequence = rng.normal(size=(2, 2, 3, 8)), rng.normal(size=(2, 5, 6))
    mask = np.array([[1, 1, 0, 1, 0], [0, 0, 0, 0, 0]], bool)
    layer, context = Attention(2), Context(sequence=jnp.float32(sequence), mask=jnp.asarray(mask))
    shapes = jax.eval_shape(layer.init, jax.random.key(0), jnp.float32(x), context)
    params = random(shapes["params"])
    got = jax.jit(layer.apply)({"params": params}, jnp.float32(x), context)
    np.testing.assert_allclose(got, attended(params, x, sequence, mask, 2), rtol=2e-4, atol=2e-5)


@pytest.mark.slow
def test_a_sequence_of_nothing_is_no_sequence():
    """The U-Net under a mask that is nowhere True is the U-Net without a sequence."""
    net = DDPMUNet(2, channels=8, multipliers=(1, 2), blocks=1, attention=(4,), dropout=0.0)
    x, noise = jax.random.normal(jax.random.key(1), (2, 4, 4, 2)), jnp.array([0.2, 0.7])
    sequence = jax.random.normal(jax.random.key(2), (2, 5, 6))
    gone = Context(sequence=sequence, mask=jnp.zeros((2, 5), bool))
    shown = gone._replace(mask=gone.mask.at[0, 1].set(True))
    params = random(jax.eval_shape(net.init, jax.random.key(0), x, noise, gone)["params"])
    run = jax.jit(lambda context: net.apply({"params": params}, x, noise, context))
    np.testing.assert_allclose(run(gone), run(Context()), atol=1e-5)
    np.testing.assert_allclose(run(shown)[1], run(gone)[1], atol=1e-5)
    assert abs(run(shown)[0] - run(gone)[0]).max() > 1e-3


def test_every_attention_of_the_unet_reads_the_sequence():
    net = DDPMUNet(2, channels=8, multipliers=(1, 2), blocks=1, attention=(4, 2), dropout=0.0)
    context = Context(sequence=jnp.zeros((1, 3, 6)), mask=jnp.ones((1, 3), bool))
    shapes = jax.eval_shape(
        net.init, jax.random.key(0), jnp.zeros((1, 4, 4, 2)), jnp.zeros(1), context
    )["params"]
    layers = {name for name in shapes if "attention" in name}
    assert layers == {
        "down0_attention0", "down1_attention0", "middle_attention",
        "up1_attention0", "up1_attention1", "up0_attention0", "up0_attention1",
    }  # fmt: skip
    assert all({"k_context", "v_context"} <= shapes[name].keys() for name in layers)
