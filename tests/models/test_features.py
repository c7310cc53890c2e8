"""What samples and data are compared by: the laws of every row, and what each row sees."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT
from published_weights import drawn, shapes_of

from ddm_jax.config.assemble import make_task
from ddm_jax.config.load import load_config, override
from ddm_jax.config.tables import complete
from ddm_jax.data.dataset import Spec
from ddm_jax.data.oracles import ORACLES, Oracle
from ddm_jax.errors import UserError
from ddm_jax.models import codecs
from ddm_jax.models.efficientnet import EfficientNetLite, Stage
from ddm_jax.models.features import FEATURES, resizing
from ddm_jax.models.features.networks import EfficientNetLite0, Inception
from ddm_jax.models.features.untrained import Pixels, Random

pytestmark = pytest.mark.usefixtures("quick_compilation")

SPEC = Spec("toy", (8, 8, 1), 4, ("a", "b", "c"), False, (0.5,), (0.2,))
COLOURS = dataclasses.replace(SPEC, shape=(8, 8, 3))
X = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Small(EfficientNetLite0):
    """A network of the same kind that compiles at once."""

    net = EfficientNetLite((Stage(1, 3, 1, 1, 4), Stage(2, 3, 2, 2, 4)), stem=4, head=6, classes=5)

    def load(self, cache, report):
        return drawn(shapes_of(self.net, 32, 32, 3)), ""


class Shown:
    """A network whose features are what it is shown."""

    def apply(self, variables, shown):
        return shown, jnp.arange(4.0) * jnp.ones((len(shown), 4))


@dataclasses.dataclass(frozen=True)
class OnLite(EfficientNetLite0):
    net = Shown()


@dataclasses.dataclass(frozen=True)
class OnInception(Inception):
    net = Shown()


@pytest.fixture(scope="module")
def classifier(quick_compilation):
    """(the task of a classifier of SPEC, its parameters drawn anew)."""
    config = complete(load_config(str(ROOT / "configs/digits_classifier.py")))
    small = ("channels=8", "multipliers=(1,)", "attention=()", "heads=2")
    config = override(config, [f"--config.model.unet_encoder.{s}" for s in small])
    task = make_task(config, SPEC, {})
    like = jax.eval_shape(task.init, jax.random.key(0))
    rng = np.random.default_rng(2)
    return task, jax.tree.map(lambda a: jnp.asarray(0.3 * rng.normal(size=a.shape)), like)


ROWS = sorted(FEATURES.keys() - {"inception"})  # too large for here; see test_parity_features.py


@pytest.fixture(scope="module", params=ROWS)
def row(request, classifier, tmp_path_factory):
    """(a row, its parameters, the tasks that it is lent, its compiled eye)."""
    task, params = classifier
    made = (
        Small(SPEC, 32) if request.param == "efficientnet_lite0" else FEATURES[request.param](SPEC)
    )
    lent = {made.asks: task} if made.asks else {}
    own, digest = made.load(tmp_path_factory.mktemp("cache"), print)
    assert bool(jax.tree.leaves(own)) >= bool(digest)
    params = params if made.asks else own
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            ORACLES, "toy", Oracle(SPEC.classes, lambda x, _: x[:, 0, 0, 0].astype(int) % 3)
        )
        made.check(SPEC)
        yield made, params, lent, jax.jit(lambda x: made.see(params, x, lent))


def test_an_example_is_seen_by_itself_whatever_is_beside_it(row):
    *_, see = row
    whole, turned = see(X), see(X[::-1])
    assert whole.features.ndim == 2 and whole.features.dtype == jnp.float32
    assert np.ptp(whole.features, axis=0).max() > 1e-4
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b[::-1], rtol=2e-5, atol=1e-5), whole, turned
    )


def test_log_probs_are_of_the_classes_that_are_named(row):
    made, _, lent, see = row
    classes, found = made.classes(lent), see(X).log_probs
    if isinstance(made, Small):
        classes = classes[: made.net.classes]
    assert (found is None) == (classes == ())
    if found is not None:
        assert found.shape == (4, len(classes)) and len(set(classes)) == len(classes)
        np.testing.assert_allclose(np.exp(found).sum(1), 1, rtol=1e-5)


BIAS = {"fc": {"bias": jnp.arange(4.0)}}
LOW = dataclasses.replace(SPEC, low=-1.0, high=1.0, levels=0)


def test_values_of_another_range_are_the_same_picture():
    kernels, _ = Random(SPEC).load(None, print)
    for kind, params in ((Pixels, ()), (Random, kernels), (OnLite, ())):
        seen = kind(SPEC).see(params, X, {}), kind(LOW).see(params, X / 127.5 - 1, {})
        np.testing.assert_allclose(seen[0].features, seen[1].features, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", [OnLite, OnInception])
def test_grey_is_shown_as_the_same_picture_in_colours(kind):
    grey = kind(SPEC).see(BIAS, X, {}).features
    colours = kind(COLOURS).see(BIAS, np.repeat(X, 3, -1), {}).features
    assert grey.shape == (4, *({OnLite: (224, 224, 3), OnInception: (299, 299, 3)}[kind]))
    np.testing.assert_allclose(grey, colours, atol=1e-6)


def test_pixels_are_the_values_from_0_to_1():
    seen = Pixels(SPEC).see((), jnp.asarray(X), {})
    np.testing.assert_allclose(seen.features, X.reshape(4, 64) / 255, rtol=1e-6)
    assert seen.log_probs is None


def test_random_features_are_means_of_a_convolution_drawn_by_the_seed():
    """One layer, summed tap by tap over the pixels that are there."""
    made = Random(SPEC, channels=5, depth=1)
    (kernel,), digest = made.load(None, print)
    padded = np.pad(
        2 * X / 255 - 1, ((0, 0), (0, 1), (0, 1), (0, 0))
    )  # 3 taps, stride 2, even sizes
    taps = [
        padded[:, i : i + 8 : 2, j : j + 8 : 2] * kernel[i, j] for i in range(3) for j in range(3)
    ]
    by_hand = np.maximum(sum(taps), 0).mean((1, 2))
    np.testing.assert_allclose(made.see([kernel], X, {}).features, by_hand, rtol=1e-5)
    assert made.load(None, print)[1] == digest
    assert Random(SPEC, channels=5, depth=1, seed=1).load(None, print)[1] != digest
    wide = dataclasses.replace(SPEC, shape=(8, 8, 64))
    assert Random(wide).load(None, print)[0][0].var() == pytest.approx(2 / (9 * 64), rel=0.05)


def test_random_features_are_of_any_number_of_axes():
    for shape in ((16, 2), (4, 4, 4, 1)):
        made = Random(dataclasses.replace(SPEC, shape=shape), channels=2, depth=2)
        params, _ = made.load(None, print)
        assert made.see(params, jnp.ones((3, *shape)), {}).features.shape == (3, 2 + 4)


def test_the_last_layer_of_a_classifier_reads_the_features(row):
    made, params, _, see = row
    if made.asks:
        vector, log_probs = see(X)
        out = params.net["out"]
        by_hand = np.asarray(vector) @ np.asarray(out["kernel"]) + np.asarray(out["bias"])
        np.testing.assert_allclose(log_probs, jax.nn.log_softmax(by_hand), rtol=1e-4, atol=1e-5)


def test_a_classifier_is_shown_x_0_without_noise_as_it_sees_it():
    class Told:
        spec, codec = SPEC, codecs.Pixels(SPEC)

        def seen(self, params, x, t):
            return params * x, t

    x, t = FEATURES["classifier"](SPEC, "runs/x").see(3, X, {"features": Told()})
    np.testing.assert_allclose(x, 3 * (2 * X / 255 - 1), atol=1e-5)
    assert t == 0


def test_black_and_white_as_the_networks_were_trained_on_them():
    both = np.stack([np.zeros((8, 8, 1)), np.full((8, 8, 1), 255.0)]).astype(np.float32)

    def ends(made):
        seen = made.see(BIAS, both, {})
        assert np.ptp(seen.features, axis=(1, 2, 3)).max() < 1e-5
        return seen.features[:, 0, 0, 0], seen.log_probs

    np.testing.assert_allclose(ends(OnLite(SPEC))[0], [-127 / 128, 1.0], rtol=1e-5)
    shown, log_probs = ends(OnInception(SPEC))
    np.testing.assert_allclose(shown, [-1.0, 127 / 128], rtol=1e-5)
    np.testing.assert_allclose(log_probs, np.full((2, 4), -np.log(4)), rtol=1e-5)  # no bias
    np.testing.assert_allclose(ends(OnInception(SPEC, resize="pytorch"))[0], [-1, 1], rtol=1e-5)


RESIZES = [
    jax.jit(resize, static_argnums=1)
    for resize in (resizing.smooth, resizing.between_centres, resizing.between_corners)
]


@pytest.mark.parametrize("resize", RESIZES, ids=["smooth", "centres", "corners"])
def test_resizing_keeps_constants_and_pictures_of_the_same_size(resize):
    np.testing.assert_array_equal(resize(jnp.asarray(X), 8), X)
    for size in (5, 19):
        out = resize(jnp.full((1, 6, 9, 3), 200.0), size)
        assert out.shape == (1, size, size, 3)
        np.testing.assert_allclose(out, 200.0, rtol=1e-6)


def test_where_pixels_lie():
    """A ramp of two pixels, enlarged to four; and a fine pattern, shrunk."""
    ramp = jnp.array([[0.0, 1.0], [0.0, 1.0]])[None, :, :, None]
    for resize, row in zip(
        RESIZES, ([0, 0.25, 0.75, 1], [0, 0.25, 0.75, 1], [0, 0.5, 1, 1]), strict=True
    ):
        np.testing.assert_allclose(resize(ramp, 4)[0, :, :, 0], [row] * 4, atol=1e-6)
        np.testing.assert_allclose(resize(ramp.swapaxes(1, 2), 4)[0, :, 2, 0], row, atol=1e-6)
    stripes = jnp.tile(jnp.array([0.0, 1.0]), 12)[None, None, :, None].repeat(24, 1)
    ends = [np.ptp(resize(stripes, 8)[0, 3, 1:-1, 0]) for resize in RESIZES]
    assert ends[0] < 0.3 and ends[1] == ends[2] == 1  # every third pixel alone, or means


@pytest.mark.parametrize("name", ["efficientnet_lite0", "inception"])
@pytest.mark.parametrize(
    "about", [{"kind": "wave"}, {"shape": (8, 8, 2)}, {"shape": (9,)}], ids=repr
)
def test_what_is_no_picture_is_refused(name, about):
    spec = dataclasses.replace(SPEC, **about)
    with pytest.raises(ValueError, match="no pictures .*features.name=pixels"):
        FEATURES[name](spec).check(spec)


def test_what_cannot_be_is_refused():
    points = dataclasses.replace(SPEC, shape=(9,))
    with pytest.raises(ValueError, match="no positions .*features.name=pixels"):
        Random(points).check(points)
    Pixels(points).check(points)
    with pytest.raises(ValueError, match="multiple of 32"):
        EfficientNetLite0(SPEC, 100)
    with pytest.raises(ValueError, match="channels and depth"):
        Random(SPEC, depth=0)
    with pytest.raises(UserError, match="choose one of pytorch, tensorflow"):
        Inception(SPEC, resize="pillow")
