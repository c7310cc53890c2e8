"""The train step: devices, accumulation, clipping, averaging and precision change nothing else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import DRAWS, ROOT, TINY, TINY_UNET, one_device, two_devices

from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import data_options
from ddm_jax.data import sources
from ddm_jax.data.augments import Mirror
from ddm_jax.data.pipeline import feed
from ddm_jax.tasks.base import Weights
from ddm_jax.training.base import Constants, View
from ddm_jax.training.optim import DECAYS, Optim

pytestmark = pytest.mark.usefixtures("quick_compilation")

DATA = sources.load(data_options(load_config(str(ROOT / "configs/quickstart.py"))))


def setup(*overrides, small=TINY_UNET):
    config = load_config(str(ROOT / "configs/quickstart.py"))
    return assemble(override(config, [*small, *overrides]), DATA.spec)


# Dropout, label dropout, flips, clipping and importance sampling of times on; a rate that moves the
# weights visibly.
ALL_ON = (
    "--config.optim.name=sgd",
    "--config.optim.lr=1.0",
    "--config.optim.warmup=0",
    "--config.optim.clip=0.3",
    *DRAWS,
)
SGD = {
    name: setup(*ALL_ON, f"--config.model.{name}.dropout=0.2", small=small)
    for name, small in {"residual_mlp": TINY, "ddpm_unet": TINY_UNET}.items()
}


def run(setup, layout, steps=3, on_device=False, state=None):
    state = layout.replicate(setup.init_state() if state is None else state)
    step = setup.compiled_steps(layout)
    constants = layout.replicate(Constants(DATA.columns["x"] if on_device else None, {}))
    key, losses = layout.replicate(setup.train_key()), []
    for k in range(int(state.step), int(state.step) + steps):
        part = feed(
            DATA, k, setup.train.batch, setup.seed, augment=setup.task.augment, by_index=on_device
        )
        state, (metrics,) = step(state, (layout.shard(part),), constants, key)
        losses.append(jax.device_get(metrics))
    return jax.device_get(state), losses, step


def distance(a, b):
    return max(
        np.abs(x - y).max() for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def first_loss(setup):
    """The mean loss of the first batch before any step, without the cost of its gradient."""
    part = feed(DATA, 0, setup.train.batch, setup.seed, augment=setup.task.augment, by_index=False)
    params = setup.init_params()

    @jax.jit
    def loss(params, part):
        batch = setup.task.prepare(part, Constants(None, {}), setup.train_key())
        view = View(jnp.zeros((), int), params, setup.task.memory())
        return setup.task.loss(params, batch, setup.train_key(), borrowed={}, view=view).loss.mean()

    return loss(params, part)


@pytest.fixture(
    scope="module", params=["residual_mlp", pytest.param("ddpm_unet", marks=pytest.mark.slow)]
)
def sgd(request):
    return SGD[request.param]


@pytest.fixture(scope="module")
def alone(sgd):
    return run(sgd, one_device())


def test_the_weights_move_and_clipping_acts(sgd, alone):
    state, losses, _ = alone
    assert distance(state.params, sgd.init_state().params) > 0.02
    assert losses[0].grad_norm > sgd.optim.clip


def test_times_are_drawn_by_the_losses_seen(sgd, alone):
    """Sixteen stratified examples fill four histories of two in the first step."""
    state, losses, _ = alone
    assert state.memory.count.sum() == 3 * sgd.train.batch
    assert (state.memory.loss > 0).all()
    expected = np.sqrt((state.memory.loss**2).mean(1))
    p = sgd.task.time_sampler.probabilities(state.memory)
    np.testing.assert_allclose(p, 0.001 / 4 + 0.999 * expected / expected.sum(), rtol=1e-5)
    np.testing.assert_array_equal(losses[0].level_count, 4 * np.eye(10)[[0, 3, 6, 9]].sum(0))
    assert (losses[2].level_count != losses[0].level_count).any()


def test_two_devices_give_what_one_gives(sgd, alone):
    state, losses, _ = run(sgd, two_devices())
    assert distance(state, alone[0]) < 1e-6
    for a, b in zip(losses, alone[1], strict=True):
        np.testing.assert_allclose(a.loss, b.loss, rtol=1e-5)
        np.testing.assert_allclose(a.grad_norm, b.grad_norm, rtol=1e-4)
        np.testing.assert_allclose(a.level_sum, b.level_sum, rtol=1e-4)
        np.testing.assert_array_equal(a.level_count, b.level_count)


def test_accumulated_parts_give_what_the_big_batch_gives(sgd, alone):
    parts = dataclasses.replace(sgd, train=dataclasses.replace(sgd.train, accumulate=4))
    state, losses, _ = run(parts, one_device())
    assert distance(state, alone[0]) < 1e-6
    np.testing.assert_allclose(losses[0].level_sum, alone[1][0].level_sum, rtol=1e-4)


def test_data_on_the_device_give_the_same_weights(sgd, alone):
    state, _, _ = run(sgd, one_device(), on_device=True)
    assert distance(state, alone[0]) == 0


def test_the_step_compiles_once_also_after_a_restore(sgd, alone):
    state, _, step = alone
    assert step._cache_size() == 1
    layout = one_device()
    restored = layout.replicate(jax.tree.map(np.asarray, state))
    part = layout.shard(feed(DATA, 3, sgd.train.batch, 0, augment=Mirror(), by_index=False))
    step(
        restored, (part,), layout.replicate(Constants(None, {})), layout.replicate(sgd.train_key())
    )
    assert step._cache_size() == 1


def test_metrics_count_every_example_once(sgd, alone):
    for metrics in alone[1]:
        assert metrics.level_count.sum() == sgd.train.batch
    total = alone[1][0].level_sum.sum() / sgd.train.batch
    assert total == pytest.approx(float(alone[1][0].loss), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides, moved",
    [
        (("objective.name=hybrid", "time_sampler.name=discrete", "sampler.name=ddpm"), "net"),
        (("objective.name=vdm", "schedule.name=learned", "timesteps.name=logsnr"), "schedule"),
        (("objective.name=uncertainty",), "objective"),
        (
            (
                *("objective.name=continuous_consistency", "schedule.name=flow"),
                *("objective.continuous_consistency.features=16", "prediction.name=velocity"),
                *("noise_cond.name=time", "sampler.name=consistency", "timesteps.name=trailing"),
            ),
            "objective",
        ),
    ],
    ids=lambda v: v if isinstance(v, str) else None,
)
def test_parts_with_parameters_are_trained_averaged_and_sampled_with(overrides, moved):
    settings = [f"--config.{o}" for o in (*overrides, "sampler.ddpm.variance=learned")]
    made = setup(*settings, "--config.optim.lr=1e-2")
    state, losses, _ = run(made, one_device(), steps=2)
    before = made.init_params()
    for tree in (state.params, state.ema_params):
        assert distance(getattr(tree, moved), getattr(before, moved)) > 0
    assert all(np.isfinite(m.loss) for m in losses)
    images = made.task.generator.generate(Weights(state.ema_params), jnp.arange(2))
    assert images.shape == (2, 8, 8, 1) and jnp.isfinite(images).all()


@pytest.mark.slow
def test_bfloat16_keeps_float32_state():
    half = setup("--config.model.ddpm_unet.dtype=bfloat16")
    part = feed(DATA, 0, half.train.batch, half.seed, augment=half.task.augment, by_index=False)
    given = (half.init_state(), part, Constants(None, {}), half.train_key())
    state, metrics = jax.eval_shape(half.train_step().whole(), *given)
    floats = {a.dtype for a in jax.tree.leaves(state) if a.dtype != np.int32}
    assert floats == {np.dtype("float32")} and metrics.loss.dtype == np.float32
    assert np.isfinite(first_loss(half))


def test_a_network_of_zeros_starts_at_the_variance_of_its_target():
    """eps has unit variance, and the published network outputs zero before training."""
    eps = setup("--config.prediction.name=eps", "--config.train.batch=512")
    assert first_loss(eps) == pytest.approx(1.0, abs=0.03)


def test_the_rate_rises_then_follows_its_decay():
    rate = lambda n, **o: float(Optim(lr=2.0, warmup=4, **o).rate(n, 104))  # noqa: E731
    assert [rate(n) for n in range(6)] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0, 2.0])
    assert rate(54, decay="linear") == pytest.approx(1.0)
    assert rate(54, decay="cosine") == pytest.approx(1.0)
    assert rate(29, decay="cosine") == pytest.approx(1 + np.cos(np.pi / 4))
    for decay in DECAYS:
        assert rate(4, decay=decay) == pytest.approx(2.0)
        assert rate(104, decay=decay) == pytest.approx(2.0 if decay == "constant" else 0, abs=1e-6)
    assert float(Optim(lr=2.0).rate(0, 10)) == 2.0
