"""Networks that are told of two times: as before where they are not, and with slopes in time."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.diffusion.conditions import Context
from ddm_jax.models import MODELS
from ddm_jax.models.ddpm_unet import DDPMUNet
from ddm_jax.models.dit import DiT
from ddm_jax.models.dropout import own_masks
from ddm_jax.models.mlp import MLP
from ddm_jax.models.residual_mlp import ResidualMLP
from ddm_jax.training.weights import fitted

pytestmark = pytest.mark.usefixtures("quick_compilation")

NETS = {
    "ddpm_unet": DDPMUNet(1, channels=8, multipliers=(1,), blocks=1, attention=(4,), dropout=0.0),
    "mlp": MLP(1, hidden=(16, 8)),
    "residual_mlp": ResidualMLP(1, channels=16, depth=1),
    "dit": DiT(1, channels=16, depth=1, heads=2, patch=2),
}
X = jax.random.normal(jax.random.key(0), (2, 4, 4, 1))
TIME = jnp.array([2.0, 5.0])
GAP = jnp.array([0.7, 3.0])


@pytest.fixture(scope="module", params=NETS)
def net(request):
    """(module, trained parameters of one time, fresh ones of two, and those trained)."""
    module, key = NETS[request.param], jax.random.key(1)

    def fresh(gap):
        return module.init(key, X, TIME, Context(gap=gap))["params"]

    rng, two = np.random.default_rng(0), jax.jit(fresh)(GAP)
    one, moved = (
        jax.tree.map(lambda a: jnp.float32(0.3 * rng.normal(size=a.shape)), tree)
        for tree in (jax.eval_shape(fresh, None), two)
    )
    return module, one, two, moved


def test_those_that_read_a_gap_say_so():
    assert {name for name, cls in MODELS.items() if "gap" in cls.reads} == NETS.keys()


def test_weights_of_one_time_are_taken_over_and_the_network_is_as_it_was(net):
    module, trained, two, moved = net
    start, left = fitted(two, trained)
    assert left and all("gap" in name for name in left)
    apply = jax.jit(lambda p, gap: module.apply({"params": p}, X, TIME, Context(gap=gap)))
    before = apply(trained, None)
    assert abs(before).max() > 0.01
    np.testing.assert_allclose(apply(start, GAP), before, atol=1e-6)
    assert abs(apply(moved, GAP) - apply(moved, 2 * GAP)).max() > 1e-3


def test_its_slope_in_x_and_time_is_that_of_small_steps(net):
    """Forward mode, as mean flows need it, through attention and norms, against differences."""
    module, _, _, moved = net
    if isinstance(module, DDPMUNet):  # its dropout draws the same masks for value and slope
        module = dataclasses.replace(module, dropout=0.2)
    rngs = own_masks(jax.random.split(jax.random.key(4)))

    def f(x, t):
        rest = t, Context(gap=GAP + t), True
        return module.apply({"params": moved}, x, *rest, rngs=rngs)

    along = jax.random.normal(jax.random.key(2), X.shape)

    @jax.jit
    def slopes():
        at = [f(X + h * along, TIME + h) for h in (-0.01, 0.01)]
        return jax.jvp(f, (X, TIME), (along, jnp.ones(2)))[1], (at[1] - at[0]) / 0.02

    found, expected = slopes()
    assert abs(found).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=0.02 * float(abs(expected).max()))
