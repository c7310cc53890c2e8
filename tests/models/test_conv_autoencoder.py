"""The autoencoder's network: any number of axes, padding, and that every parameter matters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.models.autoencoder import AUTOENCODERS, ConvAutoencoder

pytestmark = pytest.mark.usefixtures("quick_compilation")

SMALL = dict(channels=8, multipliers=(1, 2), latent=3)


def awake(module, x):
    """Random parameters, without the zeros that layers start with, so that every path matters."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]

    def draw(path, leaf):
        return jnp.asarray((path[-1].key == "scale") + 0.3 * rng.normal(size=leaf.shape))

    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.mark.parametrize(
    "space, pad, lowest", [((8,), 0, (4,)), ((6, 10), 1, (4, 6))], ids=["line", "padded"]
)
def test_any_number_of_axes_and_sizes_that_are_padded(space, pad, lowest):
    module = ConvAutoencoder(2, 2, **SMALL, pad=pad)
    module.check(space)
    assert module.shape(space) == (*lowest, 3)
    x = jax.random.normal(jax.random.key(1), (3, *space, 2))

    def both(x):
        params = module.init(jax.random.key(0), x)
        h = module.apply(params, x, method="encode")
        return h, module.apply(params, h[..., :3], method="decode")

    h, back = jax.eval_shape(both, x)
    assert h.shape == (3, *lowest, 6) and back.shape == x.shape
    assert h.dtype == back.dtype == jnp.float32


@pytest.mark.slow
def test_every_parameter_matters_and_examples_are_apart():
    module, x = ConvAutoencoder(1, 1, **SMALL), jax.random.normal(jax.random.key(1), (2, 4, 4, 1))
    params = awake(module, x)

    @jax.jit
    def both(params, x):
        back = module.apply({"params": params}, x)
        grads = jax.grad(lambda p: (module.apply({"params": p}, x) ** 2).sum())(params)
        return back, grads

    back, grads = both(params, x)
    other, _ = both(params, x.at[0].add(1.0))
    np.testing.assert_allclose(other[1], back[1], atol=1e-5)
    assert abs(other[0] - back[0]).max() > 1e-3
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        if "middle_attention']['k']['bias" in jax.tree_util.keystr(path):
            continue  # it moves all logits of a query alike
        assert abs(leaf).max() > 0, jax.tree_util.keystr(path)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"multipliers": (1, 1, 1, 1, 1)}, "do not divide by 16"),
        ({"pad": 1, "multipliers": (1, 1, 1)}, "do not divide by 4"),
        ({"heads": 3}, "heads=3 does not divide"),
        ({"latent": 0}, "at least 1"),
        ({"pad": -1}, "pad at least 0"),
        ({"dtype": "half"}, "dtype is"),
    ],
)
def test_impossible_settings_are_refused_with_the_remedy(options, message):
    with pytest.raises(ValueError, match=message):
        ConvAutoencoder(1, 2, **{**SMALL, **options}).check((8, 8))


def test_the_table_holds_networks_of_the_data():
    """Their only fields that are no settings are the channels out and the encoder's factor."""
    for cls in AUTOENCODERS.values():
        cls(3, 2).check((8, 8))
