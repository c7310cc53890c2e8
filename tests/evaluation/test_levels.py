"""Errors by noise level against closed forms, on a denoiser that is known exactly."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddm_jax.config.load import load_config
from ddm_jax.config.tables import complete
from ddm_jax.data.dataset import DataOptions
from ddm_jax.data.sources import digits
from ddm_jax.diffusion.analytic import affine_error, correlated
from ddm_jax.diffusion.arrays import fold_in
from ddm_jax.diffusion.schedules import SCHEDULES
from ddm_jax.evaluation import levels, references
from ddm_jax.runs import Run
from ddm_jax.verbs.checkup import away, encoded

TIMES = np.array([0.2, 0.5, 0.8], np.float32)
COSINE = SCHEDULES["cosine"]()


@pytest.fixture(scope="module")
def corners():
    """Points of a slanted triangle in a plane of three dimensions, far from Gaussian."""
    points = np.array([[0.0, 0, 1], [2, 1, 1], [3, 3, 1]], np.float32)
    return points[np.random.default_rng(0).integers(3, size=6000)]


@pytest.fixture(scope="module")
def measured(corners):
    """Errors of the Gaussian denoiser of the corners on them, (n, L)."""
    mean, covariance = corners.mean(0), np.cov(corners.T, bias=True)
    denoise = correlated(COSINE, jnp.asarray(mean), jnp.asarray(covariance, jnp.float32))
    model = SimpleNamespace(trained=lambda params: COSINE, denoiser=lambda params, raw: denoise)
    task, weights = SimpleNamespace(model=model), SimpleNamespace(params=())

    @jax.jit
    def errors(x0, keys):
        return levels.errors(task, weights, x0, None, times=TIMES, keys=keys)

    keys = fold_in(jax.random.key(0), jnp.arange(len(corners)))
    return np.asarray(errors(jnp.asarray(corners), keys))


def test_the_affine_error_is_what_the_gaussian_denoiser_makes_on_any_data(corners, measured):
    found, full = levels.variances(corners)
    assert full and found.mean() == pytest.approx(corners.astype(float).var(0).mean())
    exact = np.asarray(affine_error(COSINE, found, TIMES))
    np.testing.assert_allclose(measured.mean(0), exact, rtol=0.03)
    alone = np.asarray(affine_error(COSINE, corners.var(0), TIMES))
    assert (alone > 1.05 * exact).all()  # what it would be without their correlation


def test_each_level_and_example_has_noise_of_its_own(measured):
    """Errors of one example at two levels, and of two at one, are hardly related."""
    for a, b in ((measured[:, 0], measured[:, 1]), (measured[:-1, 1], measured[1:, 1])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.35


def test_variances_of_few_examples_are_those_of_elements(corners):
    found, full = levels.variances(corners[:5])
    np.testing.assert_allclose(found, corners[:5].var(0), rtol=1e-5)
    assert not full and levels.variances(corners[:6])[1]


def test_labels_tell_classes_apart_or_not():
    x, label = np.repeat([[0.0], [1.0], [3.0]], 40, 0), np.repeat([0, 4, 7], 40)
    share, chance = levels.told_apart(x, label)
    assert share == pytest.approx(1.0) and chance == pytest.approx(2 / 119)
    rng = np.random.default_rng(0)
    shuffled = [levels.told_apart(x, rng.permutation(label))[0] for _ in range(300)]
    assert np.mean(shuffled) == pytest.approx(chance, rel=0.15)


def test_a_codec_that_scales_twice_does_not_lead_back():
    data = digits("", DataOptions(), print)
    spec, order = data.spec, np.arange(40)

    def returned(scalings: int) -> float:
        def encode(values, borrowed):
            x = spec.show(values)
            for _ in range(scalings):
                x = 2 * x - 1
            return x

        codec = SimpleNamespace(encode=encode, shape=spec.shape, decode=lambda x, _: (x + 1) / 2)
        task, weights = SimpleNamespace(codec=codec, spec=spec), SimpleNamespace(borrowed={})
        x, back = encoded(task, weights, data, order)
        assert x.shape == (40, 8, 8, 1)
        return back

    assert returned(1) < 1e-6 and returned(2) > 0.2


def test_how_far_weights_have_moved():
    first = {"a": np.array([3.0, 0.0]), "b": np.array([4.0])}
    moved = {"a": np.array([3.0, 6.0]), "b": np.array([-4.0])}
    assert away(moved, first) == pytest.approx(2.0) and away(first, first) == 0


@pytest.mark.parametrize("path", references.shipped(), ids=lambda path: path.stem)
def test_curves_that_ship_fit_their_configs_and_no_other(path, at_root):
    curve, settings = references.read(path)
    spec = digits("", DataOptions(), print).spec
    config = complete(load_config(f"configs/{path.stem}.py"))
    run = Run(path.parent, None, config, spec)
    assert references.matching(run.shaping(), [path]).name == path.stem
    assert (np.diff(curve.mean) > 0).all() and curve.step == config.train.steps
    assert references.matching({**run.shaping(), "seed": 7}, [path])
    assert not references.matching({**run.shaping(), "optim.lr": 0.1}, [path])
    assert references.fits({**run.shaping(), "data.new": 1}, settings)


def test_files_that_are_no_curves_are_refused(tmp_path):
    (tmp_path / "broken.json").write_text('{"step": 3}')
    for name in ("broken.json", "missing.json"):
        with pytest.raises(ValueError, match="no curve of --mode doctor"):
            references.read(tmp_path / name)


def test_training_times_are_the_middles_of_equal_shares():
    class Square:
        def init(self, schedule):
            return ()

        def quantile(self, schedule, u, memory):
            return u**2

    model = SimpleNamespace(trained=lambda params: COSINE)
    task = SimpleNamespace(model=model, time_sampler=Square())
    found = levels.training_times(task, SimpleNamespace(params=()), 2)
    np.testing.assert_allclose(found, [0.25**2, 0.75**2])
