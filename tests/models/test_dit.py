"""The diffusion transformer: its start, its symmetries, its places and its published size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.diffusion.conditions import Context
from ddm_jax.models.dit import DiT
from ddm_jax.models.positions import places, sines_and_cosines, turned
from ddm_jax.models.resampling import depth_to_space, space_to_depth
from ddm_jax.models.transformer import Block, Settings, grouped, ungrouped

pytestmark = pytest.mark.usefixtures("quick_compilation")

SMALL = dict(channels=16, depth=1, heads=2, patch=2)
NOISE = jnp.array([0.1, 40.0])
RNG = np.random.default_rng(0)


def awake(module, *given):
    """Random parameters, without the zeros that layers start with."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *given)["params"]
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        return jnp.asarray((path[-1].key == "scale") + 0.2 * rng.normal(size=leaf.shape))

    return {"params": jax.tree_util.tree_map_with_path(draw, shapes)}


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def test_a_block_starts_as_the_identity():
    """Also under a condition and a sequence; Peebles & Xie 2022, section 3.2."""
    block = Block(Settings(2, 0.0, True, "xla", jnp.dtype("float32")), 4)
    h, emb, told = normal(2, 6, 16), normal(2, 16), Context(sequence=normal(2, 3, 8))
    fresh = jax.jit(block.init)(jax.random.key(0), h, emb, told)
    np.testing.assert_array_equal(jax.jit(block.apply)(fresh, h, emb, told), h)


def test_the_published_size():
    """DiT-S/2 for ImageNet at 256 pixels: 33 M, of them the classes' table and fixed places.

    Counted by hand: 12 (18 D^2 + 15 D) + patches + noise + the last layer, D = 384.
    """
    module, x = DiT(8), jnp.zeros((1, 32, 32, 4))
    params = jax.eval_shape(module.init, jax.random.key(0), x, jnp.zeros(1))["params"]
    count, d = sum(leaf.size for leaf in jax.tree.leaves(params)), 384
    blocks = 12 * (18 * d * d + 15 * d)
    ends = 17 * d + (257 * d + (d + 1) * d) + ((d + 1) * 2 * d + (d + 1) * 32)
    assert count == blocks + ends
    table, fixed = 1001 * module.width, 256 * d
    assert round((count + table + fixed) / 1e6) == 33


@pytest.mark.parametrize("space", [(), (6,), (4, 6), (2, 4, 6)], ids=repr)
def test_patches_are_put_back_where_they_were(space):
    x = np.arange(2 * int(np.prod(space)) * 3, dtype=np.float32).reshape(2, *space, 3)
    patches = space_to_depth(jnp.asarray(x), 2)
    assert patches.shape == (2, *(n // 2 for n in space), 3 * 2 ** len(space))
    np.testing.assert_array_equal(depth_to_space(patches, 2), x)


@pytest.mark.parametrize("position", ["sincos", "rope", "none"])
@pytest.mark.parametrize("space", [(), (8,), (2, 4, 4)], ids=repr)
def test_any_number_of_axes_and_a_start_at_zero(position, space):
    module = DiT(5, **{**SMALL, "channels": 24}, position=position, qk_norm=True)
    x = jnp.zeros((2, *space, 3))
    module.check(space)
    shapes = jax.eval_shape(module.init_with_output, jax.random.key(0), x, NOISE)
    assert shapes[0].shape == (2, *space, 5) and shapes[0].dtype == jnp.float32
    if space == (8,) and position == "rope":
        out, _ = jax.jit(module.init_with_output)(jax.random.key(0), normal(*x.shape), NOISE)
        assert (out == 0).all()


def test_without_places_patches_may_change_theirs():
    """Exchanged patches give exchanged outputs, which places prevent."""
    x = normal(2, 8, 3)

    def exchanged(a):
        return jnp.concatenate([a[:, 4:6], a[:, 2:4], a[:, :2], a[:, 6:]], 1)

    apart = {}
    for position in ("none", "rope"):
        module = DiT(3, **SMALL, position=position)
        weights, run = awake(module, x, NOISE), jax.jit(module.apply)
        out = run(weights, x, NOISE)
        apart[position] = abs(run(weights, exchanged(x), NOISE) - exchanged(out)).max()
    assert apart["none"] < 1e-5 and apart["rope"] > 1e-3


def test_the_sequence_is_read_where_the_mask_says():
    module, x, told = DiT(3, **SMALL), normal(2, 4, 3), normal(2, 5, 6)
    mask = jnp.array([[True, True, False, False, False], [True, True, True, True, False]])
    weights = awake(module, x, NOISE, Context(sequence=told, mask=mask))
    run = jax.jit(lambda told: module.apply(weights, x, NOISE, Context(sequence=told, mask=mask)))
    out = run(told)
    np.testing.assert_allclose(run(told.at[0, 2:].add(1.0).at[1, 4:].add(1.0)), out, atol=1e-6)
    other = run(told.at[0, 1].add(1.0))
    assert abs(other[0] - out[0]).max() > 1e-4
    np.testing.assert_allclose(other[1], out[1], atol=1e-6)


def test_factorised_attention_is_that_of_frames_and_of_places_in_turn():
    """A token sees its frame in one block, its own place at all times in the next: all after two.

    The parameters are those of joint attention, which a clip of one frame gives.
    """
    x = normal(2, 6, 4, 6, 3)
    given = dict(channels=16, heads=2, patch=2, qk_norm=True, position="rope")
    joint, apart = (DiT(3, **given, depth=2, attention=a) for a in ("joint", "factorised"))
    apart.check(x.shape[1:-1])
    weights = awake(apart, x, NOISE)
    assert jax.tree.map(jnp.shape, weights) == jax.tree.map(jnp.shape, awake(joint, x, NOISE))

    def moved(attention, depth, cell):
        """Which tokens (3, 2, 3) change where the first channel of a cell does."""
        module = DiT(3, **given, depth=depth, attention=attention)
        params = {k: v for k, v in weights["params"].items() if k != "block1" or depth == 2}
        run = jax.jit(lambda x: module.apply({"params": params}, x, NOISE))
        change = abs(run(x.at[0, *cell, 0].add(1.0)) - run(x))
        assert (change[1] == 0).all()
        return np.asarray(change[0].reshape(3, 2, 2, 2, 3, 2, 3).max((1, 3, 5, 6)) > 1e-6)

    own_frame = np.zeros((3, 2, 3), bool)
    own_frame[1] = True
    np.testing.assert_array_equal(moved("factorised", 1, (2, 0, 0)), own_frame)
    assert moved("factorised", 2, (2, 0, 0)).all() and moved("joint", 1, (2, 0, 0)).all()
    once = x[:, :2]  # one frame of tokens
    alone = {"params": {k: v for k, v in weights["params"].items() if k != "block1"}}
    plain = DiT(3, **{**given, "position": "none"}, depth=1)
    split = plain.clone(attention="factorised")
    expected = jax.jit(plain.apply)(alone, once, NOISE)
    np.testing.assert_allclose(jax.jit(split.apply)(alone, once, NOISE), expected, atol=1e-5)


@pytest.mark.parametrize("over", ["all", "space", "time"])
def test_groups_are_put_together_again(over):
    h = jnp.arange(2 * 24 * 5.0).reshape(2, 24, 5)
    groups = grouped(h, (4, 2, 3), over)
    assert groups.shape == {"all": (2, 24, 5), "space": (8, 6, 5), "time": (12, 4, 5)}[over]
    np.testing.assert_array_equal(ungrouped(groups, (4, 2, 3), over), h)
    frame = {"all": h[0], "space": h[0, :6], "time": h[0, ::6]}[over]
    np.testing.assert_array_equal(groups[0], frame)


def test_factorised_attention_needs_two_axes_and_two_blocks():
    for space, depth in (((8,), 2), ((), 2), ((4, 4, 4), 1)):
        with pytest.raises(ValueError, match="set attention=joint"):
            DiT(3, **{**SMALL, "depth": depth}, position="rope", attention="factorised").check(
                space
            )
    with pytest.raises(ValueError, match="attention is one of joint, factorised"):
        DiT(3, **SMALL, attention="axial").check((4, 4))


def test_derivatives_in_forward_mode_are_those_of_differences():
    module, x, way = DiT(3, **SMALL, qk_norm=True, position="rope"), *normal(2, 2, 4, 3)
    weights, step = awake(module, x, NOISE), 1e-2

    @jax.jit
    def both(x, way):
        def run(x):
            return module.apply(weights, x, NOISE)

        ahead, behind = run(x + step * way), run(x - step * way)
        return jax.jvp(run, (x,), (way,))[1], (ahead - behind) / (2 * step)

    forward, difference = both(x, way)
    np.testing.assert_allclose(forward, difference, atol=2e-2 * float(abs(difference).max()))


def test_skips_lead_from_shallow_blocks_to_deep_ones():
    """Block i to block depth - 1 - i: with three or four blocks from the first to the last alone.

    Maps that ignore what comes from above leave the network without skips.
    """
    x = normal(2, 4, 3)
    for depth in (3, 4):
        plain, module = (DiT(3, **{**SMALL, "depth": depth}, skips=s) for s in (False, True))
        weights = awake(module, x, NOISE)["params"]
        (name,) = weights.keys() - awake(plain, x, NOISE)["params"].keys()
        assert name == f"skip{depth - 1}" and weights[name]["kernel"].shape == (32, 16)
    kernel = jnp.concatenate([jnp.eye(16), jnp.zeros((16, 16))])
    blind = {**weights, name: {"kernel": kernel, "bias": jnp.zeros(16)}}
    run = jax.jit(lambda params: module.apply({"params": params}, x, NOISE))
    rest = {key: leaf for key, leaf in weights.items() if key != name}
    expected = jax.jit(plain.apply)({"params": rest}, x, NOISE)
    np.testing.assert_allclose(run(blind), expected, atol=1e-5)
    seeing = {**blind, name: {**blind[name], "kernel": kernel.at[16:].set(0.3 * jnp.eye(16))}}
    assert abs(run(seeing) - expected).max() > 1e-3


def test_remat_changes_memory_and_not_the_gradient():
    x = normal(2, 4, 3)
    weights = awake(DiT(3, **SMALL), x, NOISE)
    counts, grads = [], []
    for remat in (False, True):
        module = DiT(3, **SMALL, remat=remat)
        grad = jax.grad(lambda w, module=module: (module.apply(w, x, NOISE) ** 2).sum())
        counts.append(str(jax.make_jaxpr(grad)(weights)).count("tanh"))  # of gelu
        grads.append(jax.tree.leaves(jax.jit(grad)(weights)))
    assert counts[1] > counts[0]
    for a, b in zip(*grads, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * float(abs(a).max()))


def test_turned_queries_and_keys_see_differences_of_places_alone():
    q, k = normal(1, 1, 2, 10), normal(1, 1, 2, 10)

    def product(p, r):
        p, r = (np.array([place], float) for place in (p, r))
        return jnp.einsum("bnhd,bnhd->h", turned(q, p), turned(k, r))

    same = product((5, 2), (1, 7))
    np.testing.assert_allclose(product((9, 3), (5, 8)), same, atol=1e-5)
    assert abs(product((5, 3), (1, 7)) - same).max() > 1e-2
    assert abs(product((6, 2), (1, 7)) - same).max() > 1e-2
    lengths = [jnp.linalg.norm(a, axis=-1) for a in (q, turned(q, np.array([[3.0, 4.0]])))]
    np.testing.assert_allclose(*lengths, rtol=1e-6)


def test_every_place_has_a_vector_of_its_own():
    """Their products depend on the difference of two places alone, as cosines of angles do."""
    vectors = sines_and_cosines((4, 3), 24)
    assert vectors.shape == (12, 24) and len(np.unique(vectors.round(4), axis=0)) == 12
    np.testing.assert_allclose((vectors**2).sum(1), 12, rtol=1e-5)
    products = vectors @ vectors.T
    np.testing.assert_allclose(products[0, 4], products[4, 8], rtol=1e-5)
    np.testing.assert_array_equal(places((4, 3))[5], [1, 2])


@pytest.mark.parametrize(
    ("settings", "space", "remedy"),
    [
        (dict(patch=2), (7, 7), "do not divide into patches of 2"),
        (dict(heads=5), (8, 8), "does not divide channels"),
        (dict(position="learned"), (8, 8), "sincos, rope, none"),
        (dict(kernel="cudnn"), (8, 8), "set dtype=bfloat16"),
        (dict(dtype="float16"), (8, 8), "float32, bfloat16"),
        (dict(channels=16, heads=8, position="rope"), (8, 8), "at least 4 channels"),
        (dict(channels=6, heads=2), (8, 8), "must divide by 4"),
        (dict(depth=0), (8, 8), "at least 1"),
        (dict(dropout=1.0), (8, 8), "dropout lies in"),
    ],
)
def test_impossible_settings_are_refused_with_the_remedy(settings, space, remedy):
    with pytest.raises(ValueError, match=remedy):
        DiT(3, **settings).check(space)
