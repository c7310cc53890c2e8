"""The classifier's network: what it starts as, what its output depends on, any number of axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.models.classifier import CLASSIFIERS, AttentionPool, UNetEncoder
from ddm_jax.models.resampling import space_to_depth

pytestmark = pytest.mark.usefixtures("quick_compilation")

SMALL = dict(channels=8, multipliers=(1, 2), blocks=1, heads=2, dropout=0.0)
NOISE = jnp.array([0.3, 40.0, 700.0])


def awake(module, *given):
    """Random parameters, without the zeros that layers start with, so that every path matters."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *given)["params"]

    def draw(path, leaf):
        return jnp.asarray((path[-1].key == "scale") + 0.3 * rng.normal(size=leaf.shape))

    return jax.tree_util.tree_map_with_path(draw, shapes)


def images(*size):
    return jax.random.normal(jax.random.key(1), (3, *size))


def test_it_starts_without_an_opinion():
    module, x = UNetEncoder(5, **SMALL), images(8, 8, 1)
    fresh = jax.jit(module.init)(jax.random.key(0), x, NOISE)
    assert (jax.jit(module.apply)(fresh, x, NOISE) == 0).all()


@pytest.mark.parametrize("size", [(8,), (8, 12), (4, 4, 8)], ids=repr)
def test_any_number_of_axes_and_any_size(size):
    module, x = UNetEncoder(5, **SMALL, attention=(4,)), images(*size, 2)
    module.check(size)
    out = jax.jit(module.apply)({"params": awake(module, x, NOISE)}, x, NOISE)
    assert out.shape == (3, 5) and out.dtype == jnp.float32 and out.std() > 0


@pytest.fixture(scope="module")
def built(quick_compilation):
    module, x = UNetEncoder(5, **SMALL, attention=(4,)), images(8, 8, 1)
    params = awake(module, x, NOISE)
    return module, params, x, jax.jit(lambda p, x, n: module.apply({"params": p}, x, n))


def test_an_output_depends_on_its_own_example_and_noise(built):
    _, params, x, run = built
    out, other = run(params, x, NOISE), run(params, x.at[0].add(1.0), NOISE.at[1].set(3.0))
    np.testing.assert_allclose(other[2], out[2], atol=1e-5)
    assert (abs(other - out).max(1)[:2] > 1e-3).all()


def test_every_parameter_matters(built):
    module, params, x, run = built
    grads = jax.jit(jax.grad(lambda p: (run(p, x, NOISE) ** 2).sum()))(params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        if jax.tree_util.keystr(path) == "['pool']['attention']['key']['bias']":
            continue  # it moves all logits of a query alike
        assert abs(leaf).max() > 0, jax.tree_util.keystr(path)


def test_the_pool_tells_positions_apart_and_is_asked_by_their_mean():
    """Without its embeddings of places it is blind to the order of positions."""
    pool, x = AttentionPool(2), images(6, 4)
    params = awake(pool, x)
    run = jax.jit(lambda p, x: pool.apply({"params": p}, x))
    turned = x[:, ::-1]
    assert abs(run(params, x) - run(params, turned)).max() > 1e-2
    blind = {**params, "place": jnp.zeros_like(params["place"])}
    np.testing.assert_allclose(run(blind, x), run(blind, turned), atol=1e-5)


def test_patches_are_channels_of_the_same_network():
    whole, x = UNetEncoder(5, **SMALL), images(8, 12, 2)
    cells = space_to_depth(x, 2)
    params = {"params": awake(whole, cells, NOISE)}
    folded = jax.jit(UNetEncoder(5, **SMALL, patch=2).apply)(params, x, NOISE)
    np.testing.assert_allclose(folded, jax.jit(whole.apply)(params, cells, NOISE), rtol=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"heads": 3}, "heads=3 does not divide"),
        ({"multipliers": (1, 1, 1, 1, 1)}, "do not divide by 16"),
        ({"patch": 8}, "patches of 8"),
        ({"dropout": 1.0}, "dropout lies in"),
    ],
)
def test_impossible_settings_are_refused_with_the_remedy(options, message):
    with pytest.raises(ValueError, match=message):
        UNetEncoder(5, **{**SMALL, **options}).check((8, 8))


def test_the_table_holds_networks_of_the_data():
    """Their only field that is no setting is the number of classes."""
    for cls in CLASSIFIERS.values():
        assert cls(7).classes == 7
