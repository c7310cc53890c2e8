"""A picture as a condition: what a network is told of it, and whose sample it changes."""

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
from conftest import ROOT, one_device, two_devices

from ddm_jax.config.assemble import assemble
from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import complete
from ddm_jax.data.augments import NO_AUGMENT, Mirror
from ddm_jax.data.columns import spec_of
from ddm_jax.data.dataset import Dataset
from ddm_jax.data.pipeline import feed, prepare
from ddm_jax.diffusion.conditions import drop
from ddm_jax.models import MODELS
from ddm_jax.models.conditions.image import Image, Picture, enlarge, shrink
from ddm_jax.tasks.base import Weights
from ddm_jax.tasks.generator import Asked
from ddm_jax.training.base import Constants, View
from ddm_jax.verbs.sampling import make_draw

pytestmark = pytest.mark.usefixtures("quick_compilation")

RNG = np.random.default_rng(0)
COLUMNS = {
    "x": RNG.integers(0, 256, (12, 8, 12, 3), np.uint8),
    "image": RNG.integers(0, 256, (12, 4, 3, 1), np.uint8),
}
DATA = Dataset(spec_of("pairs", COLUMNS), COLUMNS)
SHRUNK, OWN = (Image(0, DATA.spec, factor) for factor in (2, 0))
TINY = {
    "ddpm_unet": ("channels=8", "multipliers=(1,)", "blocks=1", "attention=()", "dropout=0.1"),
    "ddm_unet": ("channels=(8,)", "depth=1"),
    "vanilla_unet": ("channels=(4,8)",),
    "mlp": ("hidden=(8,)",),
    "residual_mlp": ("channels=8", "depth=1"),
    "dit": ("channels=8", "depth=1", "heads=2"),
}


def maps(condition, raw):
    return np.asarray(condition.embed((), raw).maps)


def setup(model="mlp", *settings):
    """What a config describes on DATA, with shrunk examples for pictures."""
    config = complete(load_config(f"{ROOT}/configs/base.py"))
    named = ("condition.name=image", "condition.image.factor=2", f"model.name={model}")
    small = (f"model.{model}.{s}" for s in TINY[model])
    short = ("sample.steps=3", "prediction.name=v", "loss.class_dropout=0.5")
    settings = (*named, *small, *short, "train.batch=12", *settings)
    return assemble(override(config, [f"--config.{s}" for s in settings]), DATA.spec)


def away_from_rest(params):
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    pairs = zip(leaves, keys, strict=True)
    return tree.unflatten([a + 0.1 * jax.random.normal(k, a.shape) for a, k in pairs])


def test_what_is_enlarged_has_the_picture_for_its_means():
    picture = RNG.normal(size=(2, 3, 5, 4)).astype(np.float32)
    large = enlarge(jnp.asarray(picture), (9, 15))
    assert large.shape == (2, 9, 15, 4)
    np.testing.assert_allclose(shrink(large, 3), picture, rtol=1e-6)
    np.testing.assert_array_equal(large[:, 4, 7], picture[:, 1, 2])


def test_a_shrunk_example_is_what_pillow_makes_of_it():
    x = RNG.normal(size=(6, 9)).astype(np.float32)
    other = PIL.Image.fromarray(x, "F").reduce(3)
    np.testing.assert_allclose(shrink(x[None, ..., None], 3)[0, ..., 0], other, atol=1e-6)


def test_a_network_is_told_the_picture_at_the_size_of_x_and_that_it_is_there():
    raw = OWN.raw(COLUMNS)
    told = maps(OWN, raw)
    assert told.shape == (12, 8, 12, 2) and (told[..., 1] == 1).all()
    for (b, i, j), value in np.ndenumerate(COLUMNS["image"][..., 0]):
        block = told[b, 2 * i : 2 * i + 2, 4 * j : 4 * j + 4, 0]
        np.testing.assert_allclose(block, value / 127.5 - 1, atol=1e-6)


def test_a_grey_picture_is_another_thing_than_none():
    grey = Picture(np.zeros((2, 4, 6, 3), np.float32), np.ones(2, np.float32))
    one, none = maps(SHRUNK, grey), maps(SHRUNK, SHRUNK.null(2))
    np.testing.assert_array_equal(one[..., :-1], none[..., :-1])
    assert (one[..., -1] == 1).all() and not none.any()


def test_a_file_tells_what_the_column_does(tmp_path):
    """Of an example that is flat in each block, so that its means are whole numbers."""
    small = RNG.integers(0, 256, (4, 6, 3), np.uint8)
    PIL.Image.fromarray(small).save(tmp_path / "small.png")
    x = np.asarray(enlarge(jnp.asarray(small[None]), (8, 12)))
    asked, own = SHRUNK.ask([str(tmp_path / "small.png")]), SHRUNK.raw({"x": x})
    np.testing.assert_allclose(asked.pixels, own.pixels, atol=1e-6)
    np.testing.assert_array_equal(asked.there, own.there)
    PIL.Image.fromarray(x[0]).save(tmp_path / "large.png")
    big = SHRUNK.ask([str(tmp_path / "large.png")] * 2)
    assert big.pixels.shape == (2, 4, 6, 3) and SHRUNK.ask([]).pixels.shape == (0, 4, 6, 3)


def test_pictures_are_dropped_by_example_and_whole():
    keys = jax.random.split(jax.random.key(0), 12)
    raw = SHRUNK.raw(COLUMNS)
    got = drop(SHRUNK, raw, keys, 0.5)
    gone = np.asarray(got.there) == 0
    assert 2 < gone.sum() < 10 and not np.asarray(got.pixels)[gone].any()
    np.testing.assert_array_equal(got.pixels[~gone], raw.pixels[~gone])


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("condition", [SHRUNK, OWN], ids=["shrunk", "own"])
def test_a_mirrored_example_has_a_mirrored_picture(condition, on_device):
    pool = jnp.asarray(COLUMNS["x"]) if on_device else None
    plain, turned = (
        condition.raw(
            prepare(feed(DATA, 0, 12, 0, augment=augment, by_index=on_device), pool, augment)
        )
        for augment in (NO_AUGMENT, Mirror(1.0))
    )
    np.testing.assert_allclose(turned.pixels, np.asarray(plain.pixels)[:, :, ::-1], atol=1e-6)
    assert abs(turned.pixels - plain.pixels).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_network_sees_the_picture_of_an_example_in_its_own_estimate_alone(model):
    made = setup(model)
    params = away_from_rest(made.init_params())
    raw, x = SHRUNK.raw(COLUMNS), jax.random.normal(jax.random.key(2), (12, 8, 12, 3))
    others = (raw.pixels.copy(), raw._replace(there=raw.there.copy()).there)
    others[0][3] *= -1
    others[1][7] = 0

    @jax.jit
    def estimate(raw):
        return made.task.model.denoiser(params, raw)(x, 0.7).x0

    one, other = estimate(raw), estimate(Picture(*others))
    changed = np.abs(one - other).reshape(12, -1).max(1)
    assert (changed[[3, 7]] > 1e-4).all() and np.delete(changed, [3, 7]).max() < 1e-6


def test_the_loss_of_an_example_does_not_depend_on_the_batch_around_it():
    made = setup()
    params, task = away_from_rest(made.init_params()), made.task
    fed = feed(DATA, 0, 12, 0, augment=NO_AUGMENT, by_index=False)

    @jax.jit
    def losses(fed):
        batch = task.prepare(fed, Constants(None, {}), made.train_key())
        view = View(jnp.zeros((), int), params, task.memory())
        return task.loss(params, batch, made.train_key(), borrowed={}, view=view).loss

    whole = losses(fed)
    halves = [losses({k: v[part] for k, v in fed.items()}) for part in np.split(np.arange(12), 2)]
    np.testing.assert_allclose(np.concatenate(halves), whole, rtol=1e-5)
    assert whole.std() > 0


def test_a_sample_is_that_of_its_own_picture_whatever_batch_and_devices():
    """Guided, in batches of 5 and of 6 (3 a device), and with the picture of one turned about."""
    guided = ("guidance.name=classifier_free", "guidance.classifier_free.scale=2")
    made = setup("mlp", "sample.batch=5", "sample.steps=2", *guided)
    weights = Weights(away_from_rest(made.init_params()))
    raw = SHRUNK.raw(COLUMNS)
    pixels = raw.pixels.copy()
    pixels[3] *= -1

    def draw(layout, raw):
        told = Asked(raw, jnp.zeros(12, jnp.int32))
        draw = make_draw(made.task.generator, layout, told)
        return draw(layout.replicate(weights), 12, print)

    base, other = draw(one_device(), raw), draw(two_devices(), Picture(pixels, raw.there))
    changed = np.abs(other - base).reshape(12, -1).max(1)
    assert changed[3] > 1e-3 and np.delete(changed, 3).max() < 1e-5
