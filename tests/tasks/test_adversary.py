"""What an autoencoder must pass beside the distance: a critic of patches, and a network's look."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import TINY_CODER, answer, assert_same_state, keys, state_of
from test_autoencoder import setup_of

from ddm_jax.data.dataset import Spec
from ddm_jax.models.adversaries import NoAdversary, Patches
from ddm_jax.models.efficientnet import EfficientNetLite, Stage
from ddm_jax.models.features.networks import EfficientNetLite0
from ddm_jax.models.perceptions import Lite0
from ddm_jax.training import logs

pytestmark = pytest.mark.usefixtures("quick_compilation")

KEY, NOW = jax.random.key(0), jnp.int32(10)
ROW = Patches(start=10, channels=4, halvings=1)
SHAPE = (8, 8, 1)


def pictures(seed, scale=1.0):
    return scale * jax.random.normal(jax.random.key(seed), (6, *SHAPE))


def means(row, params, x, back, step=NOW):
    penalty, parts = row.judge(params, x, back, step)
    return penalty.mean(), {name: part.mean() for name, part in parts.items()}


def test_the_critic_learns_from_what_is_held_and_the_coder_from_a_critic_that_is():
    """Each half of the penalty moves one of the two, as the derivatives of its formula say."""
    params, x, back = ROW.init(KEY, SHAPE), pictures(1), pictures(2)

    def opinion(params, x):
        return ROW.critic.apply({"params": params}, x)

    def critic(params):
        real, made = opinion(params, x), opinion(params, back)
        return jnp.maximum(1 - real, 0).mean() + jnp.maximum(1 + made, 0).mean()

    @jax.jit
    def both():
        of = jax.grad(lambda *a: means(ROW, a[0], x, a[1])[0], (0, 1))(params, back)
        coder = jax.grad(lambda y: -ROW.weight * opinion(params, y).mean())(back)
        return of, (jax.grad(critic)(params), coder)

    found, wanted = both()
    for a, b in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)
    assert all(abs(leaf).max() > 0 for leaf in jax.tree.leaves(found))


def test_before_its_start_it_says_what_it_sees_and_changes_nothing():
    params, x, back = ROW.init(KEY, SHAPE), pictures(1), pictures(2)
    early, parts = means(ROW, params, x, back, NOW - 1)
    later, same = means(ROW, params, x, back)
    assert early == 0 and later != 0 and parts.keys() == {"critic", "pleased"}
    assert parts == same
    np.testing.assert_allclose(later, parts["critic"] - ROW.weight * parts["pleased"], rtol=1e-5)
    none = NoAdversary()
    assert none.init(KEY, SHAPE) == () and not none.judge((), x, back, NOW).penalty.any()


def test_a_critic_learns_to_tell_smooth_pictures_from_rough_ones():
    params, tx = ROW.init(KEY, SHAPE), optax.adam(3e-3)

    @jax.jit
    def step(carry, k):
        params, state = carry
        rough, smooth = pictures(2 * k), jnp.ones((6, *SHAPE)) * pictures(2 * k + 1)[:, :1, :1]
        grads = jax.grad(lambda p: means(ROW, p, smooth, rough)[0])(params)
        updates, state = tx.update(grads, state)
        return (optax.apply_updates(params, updates), state), None

    def told(params):
        rough, smooth = pictures(9001), jnp.ones((6, *SHAPE)) * pictures(9002)[:, :1, :1]
        return float(means(ROW, params, smooth, rough)[1]["critic"])

    before = told(params)
    (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), jnp.arange(300))
    assert told(params) < 0.2 < 1.5 < before


def test_an_example_is_judged_by_itself():
    params, x, back = ROW.init(KEY, SHAPE), pictures(1), pictures(2)
    whole = ROW.judge(params, x, back, NOW)
    half = ROW.judge(params, x[3:], back[3:], NOW)
    np.testing.assert_allclose(half.penalty, whole.penalty[3:], rtol=1e-4, atol=1e-6)
    assert whole.penalty.shape == (6,)


@pytest.fixture(scope="module")
def seeing():
    """(row, spec, weights, distance) of a perception with few stages and drawn weights."""
    spec = Spec("pictures", (32, 32, 1), 6, (), False, (0.5,), (0.2,))
    net = EfficientNetLite((Stage(1, 3, 1, 1, 4), Stage(1, 3, 2, 2, 4)), stem=4, head=6, classes=5)
    row = Lite0(weight=2.0, size=32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EfficientNetLite0, "net", net)
        params = jax.jit(net.init)(KEY, jnp.zeros((1, 32, 32, 3)))["params"]
        yield row, spec, params, jax.jit(lambda x, y: row.apart(spec, params, x, y))


def test_what_is_perceived_is_zero_for_the_same_and_grows_with_the_damage(seeing):
    _, _, _, apart = seeing
    x = jnp.tanh(jax.random.normal(KEY, (5, 32, 32, 1)))
    noise = jax.random.normal(jax.random.key(1), x.shape)
    none, some, more = (np.asarray(apart(x, x + k * noise)) for k in (0.0, 0.1, 0.4))
    assert none.shape == (5,) and abs(none).max() < 1e-5
    assert (some > 1e-4).all() and (more > some).all()


def test_it_is_the_mean_square_between_directions_of_channels(seeing):
    row, spec, params, apart = seeing
    x, y = (jnp.tanh(jax.random.normal(jax.random.key(k), (2, 32, 32, 1))) for k in (1, 2))
    see = EfficientNetLite0(spec, 32)
    total = 0.0
    for a, b in zip(*(see.maps(params, 127.5 * (v + 1)) for v in (x, y)), strict=True):
        a, b = (np.asarray(m, np.float64) for m in (a, b))
        assert (np.linalg.norm(a, axis=-1) > 1e-3).mean() > 0.5
        a, b = (m / np.sqrt((m**2).sum(-1, keepdims=True) + 1e-10) for m in (a, b))
        total = total + ((a - b) ** 2).sum(-1).mean((1, 2))
    np.testing.assert_allclose(apart(x, y), row.weight * total / 2, rtol=1e-2, atol=1e-4)


@pytest.mark.slow
def test_a_run_learns_from_what_is_perceived(seeing, monkeypatch, tmp_path, capsys, at_root):
    """With weights that are loaded once, as arguments of its steps, and that it does not keep."""
    row, _, params, _ = seeing
    loaded = []

    def load(self, cache, report):
        loaded.append((self.spec.shape, self.size))
        return params, "digest"

    monkeypatch.setattr(EfficientNetLite0, "load", load)
    config = ("--config", "configs/digits_latent.py:autoencoder", *TINY_CODER)
    sees = ("perception.name=lite0", f"perception.lite0.size={row.size}", "optim.warmup=1")
    settings = keys(*sees, "train.steps=2", "train.log_every=1", "train.batch=8")
    code, _, err = answer(capsys, *config, *settings, "--workdir", tmp_path / "run")
    assert (code, err) == (0, "") and loaded == [((8, 8, 1), 32)]
    for line in logs.read(tmp_path / "run/metrics.jsonl"):
        whole = line["reconstruction"] + 1e-3 * line["kl"] + line["perception"]
        assert line["loss"] == pytest.approx(whole, rel=1e-3) and line["perception"] > 1e-3
    assert not any("_blocks" in key for key in state_of(tmp_path / "run")[1]["params"])


@pytest.mark.telling
@pytest.mark.slow
def test_a_run_with_a_critic_logs_it_and_goes_on_bit_for_bit(tmp_path, capsys, at_root):
    config = ("--config", "configs/digits_latent.py:autoencoder", *TINY_CODER)
    settings = keys(
        "adversary.name=patches",
        "adversary.patches.start=2",
        "adversary.patches.channels=8",
        "optim.warmup=1",
        "optim.decay=constant",
        "train.log_every=1",
        "train.save_every=3",
    )
    run, parts = tmp_path / "run", tmp_path / "parts"
    for workdir, steps in ((run, 6), (parts, 3), (parts, 6)):
        where = ("--workdir", workdir, f"--config.train.steps={steps}")
        code, _, err = answer(capsys, *config, *settings, *where)
        assert (code, err) == (0, "")
    assert_same_state(run, parts)
    assert any("adversary" in key for key in state_of(run)[1]["params"])
    rows = logs.read(run / "metrics.jsonl")
    for row in rows:
        plain = row["reconstruction"] + 1e-3 * row["kl"]
        added = row["critic"] - 0.1 * row["pleased"] if row["step"] > 2 else 0.0
        assert row["loss"] == pytest.approx(plain + added, rel=1e-3)
    assert len(rows) == 6 and rows[0]["critic"] == pytest.approx(2.0, abs=0.7)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("adversary.patches.weight=0", "needs weight > 0"),
        ("adversary.patches.start=-1", "start=-1"),
        ("adversary.patches.halvings=0", "at least 1"),
        ("adversary.patches.halvings=3", "of 8x8 positions 3 halvings leave no patches"),
        ("perception.lite0.size=40", "size=40 must be a multiple of 32"),
        ("perception.lite0.weight=-1", "needs weight > 0"),
        ("data.name=moving_shapes", "no pictures"),
    ],
)
def test_what_cannot_be_is_refused(setting, reason):
    names = ("adversary.name=patches", "perception.name=lite0")
    with pytest.raises(Exception, match=reason):
        setup_of(*names, setting)
