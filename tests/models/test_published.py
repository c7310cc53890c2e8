"""Layers of published networks: where they pad, what their norms divide by, what they pool."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import sparing
from published_weights import drawn, shapes_of

from ddm_jax.models.efficientnet import EfficientNetLite, MBConv, Stage
from ddm_jax.models.inception import BlockE, InceptionV3
from ddm_jax.models.published import Conv, Linear, StoredNorm, max_of_3, mean_of_3

pytestmark = pytest.mark.usefixtures("quick_compilation")

X = np.random.default_rng(0).normal(size=(2, 6, 8, 3)).astype(np.float32)


@pytest.mark.parametrize("tap", [*itertools.product(range(3), repeat=2)], ids=repr)
def test_a_convolution_of_stride_two_starts_at_the_first_pixel(tap):
    """A kernel with one tap shows every second pixel, moved by the tap; zeros past the end."""
    kernel = np.zeros((3, 1, 3, 3), np.float32)
    kernel[:, :, *tap] = 1
    shown = Conv(3, (3, 3), 2, groups=3).apply({"params": {"weight": kernel}}, X)
    padded = np.pad(X, ((0, 0), (0, 2), (0, 2), (0, 0)))
    np.testing.assert_array_equal(
        shown, padded[:, tap[0] : 6 + tap[0] : 2, tap[1] : 8 + tap[1] : 2]
    )


@pytest.mark.parametrize("size", sparing([(7, 9), (8, 6)], (7, 9).__eq__), ids=repr)
@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (1, 1), (1, 7)], ids=repr)
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((0, 1), (3, 2))], ids=repr)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("groups", [6, 1])
def test_whatever_its_shape_a_convolution_is_that_of_xla(groups, stride, padding, kernel, size):
    rng = np.random.default_rng(1)
    if padding == "VALID" and kernel[1] > size[1]:
        pytest.skip("the kernel is larger than the picture")
    x = rng.normal(size=(2, *size, 6)).astype(np.float32)
    weight = rng.normal(size=(6, 6 // groups, *kernel)).astype(np.float32)
    ours = Conv(6, kernel, stride, padding, groups).apply({"params": {"weight": weight}}, x)
    plain = jax.lax.conv_general_dilated(
        x,
        weight,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "OIHW", "NHWC"),
        feature_group_count=groups,
    )
    np.testing.assert_allclose(ours, plain, atol=1e-4)


def test_a_norm_is_that_of_its_statistics_with_an_epsilon_of_a_thousandth():
    norm = {"weight": [2.0], "bias": [1.0], "running_mean": [0.5], "running_var": [0.003]}
    params = jax.tree.map(jnp.asarray, norm, is_leaf=lambda a: isinstance(a, list))
    out = StoredNorm().apply({"params": params}, jnp.array([0.5, 0.563245553])[:, None])
    np.testing.assert_allclose(out[:, 0], [1.0, 3.0], rtol=1e-6)  # 0.0632 is sqrt(0.003 + 0.001)


def test_a_matrix_has_a_row_an_output():
    weight, bias = np.arange(6.0).reshape(2, 3), np.array([1.0, 2.0])
    out = Linear(2).apply({"params": {"weight": weight, "bias": bias}}, jnp.array([[1.0, 0, 0]]))
    assert out.tolist() == [[1.0, 5.0]]


def test_means_of_nine_leave_constants_and_count_no_padding():
    np.testing.assert_allclose(mean_of_3(jnp.full((1, 3, 4, 2), 7.0)), 7.0, rtol=1e-6)
    got, block = mean_of_3(jnp.asarray(X)), (slice(None), slice(0, 2), slice(0, 2))
    np.testing.assert_allclose(got[:, 0, 0], X[block].mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(got[:, 3, 4], X[:, 2:5, 3:6].mean((1, 2)), rtol=1e-5)


def test_maxima_of_nine():
    assert max_of_3(X, 2).shape == (2, 2, 3, 3)
    np.testing.assert_array_equal(max_of_3(X, 2)[:, 1, 2], X[:, 2:5, 4:7].max((1, 2)))
    np.testing.assert_array_equal(max_of_3(X, 1, "SAME")[:, 0, 0], X[:, :2, :2].max((1, 2)))


@pytest.mark.parametrize("channels, stride, same", [(3, 1, True), (3, 2, False)])
def test_a_block_adds_its_input_where_that_has_its_shape(channels, stride, same):
    block = MBConv(channels, 3, stride, 2)
    params = drawn(shapes_of(block, *X.shape[1:]))
    params["_project_conv"]["weight"] = np.zeros((3, 6, 1, 1), np.float32)
    params["_bn2"]["running_mean"] = np.zeros(3, np.float32)
    out = np.asarray(jax.jit(block.apply)({"params": params}, X))
    bias = np.broadcast_to(params["_bn2"]["bias"], out.shape)
    np.testing.assert_allclose(out, X + bias if same else bias, rtol=1e-6)


def test_the_last_layer_reads_the_features_which_end_at_six():
    net = EfficientNetLite((Stage(2, 5, 2, 1, 4),), stem=4, head=5, classes=2)
    params = drawn(shapes_of(net, *X.shape[1:]))
    params["_bn1"]["bias"] = np.float32([-1e3, 0, 0, 0, 1e3])
    pooled, logits = map(np.asarray, jax.jit(net.apply)({"params": params}, X))
    assert (pooled[:, 0] == 0).all() and (pooled[:, 4] == 6).all()
    by_hand = pooled @ np.asarray(params["_fc"]["weight"]).T + np.asarray(params["_fc"]["bias"])
    np.testing.assert_allclose(logits, by_hand, rtol=1e-4)


@pytest.mark.parametrize("maximum", [False, True])
def test_the_last_block_of_inception_takes_a_maximum_and_the_one_before_it_a_mean(maximum):
    """At the pooled branch alone: its kernel passes the first channels on."""
    x, block = np.abs(X), BlockE(maximum)
    params = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes_of(block, *x.shape[1:]))
    branch = params["branch_pool"]
    branch["conv"]["weight"] = np.eye(192, 3, dtype=np.float32)[:, :, None, None]
    branch["bn"] |= {"weight": np.ones(192, np.float32)}
    branch["bn"] |= {"running_var": np.full(192, 0.999, np.float32)}
    out = jax.jit(lambda p: block.apply({"params": p}, x)[..., -192:-189])(params)
    pool = max_of_3(x, 1, "SAME") if maximum else mean_of_3(x)
    np.testing.assert_allclose(out, pool, rtol=1e-5)


@pytest.mark.parametrize(
    "net, size, count, widths",
    [
        (EfficientNetLite(), 224, 4_694_024, (1280, 1000)),
        (InceptionV3(), 299, 23_885_392, (2048, 1008)),
    ],
    ids=["efficientnet_lite0", "inception"],
)
def test_published_sizes(net, size, count, widths):
    x = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
    out, variables = jax.eval_shape(net.init_with_output, jax.random.key(0), x)
    assert tuple(a.shape[1] for a in out) == widths
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == count
