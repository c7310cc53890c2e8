"""The convolution of the networks against XLA's, its derivatives, and its form on each machine."""

import re
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax

from ddm_jax.models.primitive import channels_last, convolved

pytestmark = pytest.mark.usefixtures("quick_compilation")

PADDINGS = {"SAME": "SAME", "VALID": "VALID", "before": (1, 0), "after": (0, 2)}
SPACES = [(7,), (6, 5), (4, 5, 3)]
# Of all together one in nine, in which any two of a space, a width, a padding and a stride meet.
CASES = [
    (space, width, padding, stride)
    for (a, space), (b, width), (c, padding), (d, stride) in product(
        *map(enumerate, (SPACES, (1, 2, 3), PADDINGS, (1, 2, 3)))
    )
    if (a + b + c) % 3 == (a + 2 * b + d) % 3 == 0
]


def theirs(x, kernel, strides, padding):
    axes = channels_last(len(strides))
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=axes)


def drawn(space, width):
    rng = np.random.default_rng(len(space) + width)
    shapes = (2, *space, 3), (*(width,) * len(space), 3, 4)
    return [jnp.float32(rng.normal(size=shape)) for shape in shapes]


def derivatives(convolution, x, kernel):
    """By each argument: reverse, forward over reverse, and reverse over forward."""

    def loss(x, kernel):
        return jnp.sin(convolution(x, kernel)).sum()

    def speed(x, kernel):
        return sum((a**2).sum() for a in jax.jvp(convolution, (x, kernel), (x**2, kernel + 1)))

    gradient = jax.grad(loss, (0, 1))
    return jax.jvp(gradient, (x, kernel), (x + 1, kernel - 1)), jax.grad(speed, (0, 1))(x, kernel)


@pytest.mark.parametrize(("space", "width", "padding", "stride"), CASES, ids=str)
def test_it_has_the_derivatives_of_xlas(space, width, padding, stride):
    pad = PADDINGS[padding]
    pads = pad if isinstance(pad, str) else (pad,) * len(space)
    how = {"strides": (stride,) * len(space), "padding": pads}
    ours, xlas = (
        jax.jit(partial(derivatives, partial(f, **how)))(*drawn(space, width))
        for f in (convolved, theirs)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), ours, xlas)


@pytest.mark.parametrize("along", [(0, 0), (0, None), (None, 0), (1, 2)], ids=str)
def test_it_may_be_mapped_over_either_argument_or_both(along):
    x, kernel = drawn((6, 5), 3)
    some = [
        a if axis is None else jnp.stack([a, 2 * a, a - 1], axis)
        for a, axis in zip((x, kernel), along, strict=True)
    ]
    for which in (0, 1):

        def gradient(convolution, which=which):
            return jax.grad(lambda *a: (convolution(*a, (1, 1), "SAME") ** 2).sum(), which)

        ours, xlas = (jax.vmap(gradient(f), along)(*some) for f in (convolved, theirs))
        np.testing.assert_allclose(ours, xlas, rtol=1e-4, atol=1e-3)


def test_on_a_cpu_all_of_its_derivatives_have_their_channels_last():
    """As XLA's fast kernels do; others see the axes where they stand, and move nothing."""
    x, kernel = drawn((6, 5), 3)
    how = {"strides": (2, 1), "padding": "SAME"}
    forms, moves = {}, {}
    for platform in ("cpu", "cuda", "tpu"):
        program = jax.jit(partial(derivatives, partial(convolved, **how)))
        text = export.export(program, platforms=[platform])(x, kernel).mlir_module()
        forms[platform] = re.findall(r"dim_numbers = (\[.*?\]x\[.*?\]->\[.*?\])", text)
        moves[platform] = text.count("stablehlo.transpose")
    assert set(forms["cpu"]) == {"[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"}
    assert forms["cuda"] == forms["tpu"] and len(set(forms["cuda"])) == 3
    assert len(forms["cpu"]) == len(forms["cuda"]) and moves["cuda"] == moves["tpu"] == 0


def test_within_a_loop_a_cpu_has_fast_kernels_for_its_gradients():
    """By what the compiler makes of them: no convolution whose axes are those of a gradient."""
    x, kernel = drawn((16, 16), 3)

    def gradients(convolution):
        def once(kernel, _):
            def loss(k, x):
                return (convolution(x, k, (1, 1), "SAME") ** 2).sum()

            by_kernel, by_x = jax.grad(loss, (0, 1))(kernel, x)
            return kernel - 1e-3 * by_kernel + 1e-3 * by_x.mean(), None

        return lambda kernel: lax.scan(once, kernel, None, length=3)[0]

    def forms(convolution):
        text = jax.jit(gradients(convolution)).lower(kernel).compile().as_text()
        return set(re.findall(r"dim_labels=(\S+?)[, ]", text))

    assert forms(convolved) == {"b01f_01io->b01f"}
    assert len(forms(theirs)) > 1


def test_types_are_kept_and_must_be_one():
    x, kernel = (a.astype(jnp.bfloat16) for a in drawn((6, 5), 3))
    grads = jax.grad(lambda *a: convolved(*a, (1, 1), "SAME").sum(), (0, 1))(x, kernel)
    assert {a.dtype for a in (convolved(x, kernel, (1, 1), "SAME"), *grads)} == {
        jnp.dtype("bfloat16")
    }
    with pytest.raises(TypeError, match="same dtype"):
        convolved(x, kernel.astype(jnp.float32), (1, 1), "SAME")
