"""Laws of measurements and their pseudo-inverses, and of samples that are held to one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import KEY, MEAN, ROWS, STD, convergence, ideal

from ddm_jax.diffusion.analytic import gaussian, gaussian_jump
from ddm_jax.diffusion.editing.null_space import OPERATORS, Grey, Lower, Masked, consistent
from ddm_jax.diffusion.samplers.loop import prior, sample
from ddm_jax.diffusion.samplers.one_step import Heun
from ddm_jax.diffusion.samplers.timesteps import LogSNRGrid
from ddm_jax.diffusion.schedules.continuous import VP

pytestmark = pytest.mark.usefixtures("quick_compilation")

FOR_MEANS = [name for name, sampler in ROWS.items() if sampler.estimate == "mean"]
SPACES = [(), (6,), (4, 6), (2, 4, 6), (2, 2, 4, 2)]


def operator_of(name, shape):
    """A row of OPERATORS for examples of a shape (*space, C)."""
    mask = jax.random.bernoulli(jax.random.key(1), 0.4, shape)
    settings = {"grey": {"channels": shape[-1]}, "lower": {"factor": 2}, "masked": {"mask": mask}}
    return OPERATORS[name](**settings.get(name, {}))


def matrices(operator, shape):
    """A (m, n) and A+ (n, m) of examples of this shape, column by column."""
    units = jnp.eye(np.prod(shape)).reshape(-1, *shape)
    y = operator.measure(units)
    back = operator.back(jnp.eye(y[0].size).reshape(-1, *y.shape[1:]))
    return tuple(np.asarray(a, np.float64).reshape(len(a), -1).T for a in (y, back))


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_going_back_is_the_pseudo_inverse_of_measuring(name, space):
    """That of linear algebra, which the four equations of Moore and Penrose single out."""
    shape = (*space, 3)
    a, inverse = matrices(operator_of(name, shape), shape)
    np.testing.assert_allclose(inverse, np.linalg.pinv(a), atol=1e-6)
    np.testing.assert_allclose(a @ inverse @ a, a, atol=1e-6)
    np.testing.assert_allclose(inverse @ a @ inverse, inverse, atol=1e-6)


@pytest.mark.parametrize("name", ["grey", "lower"])
def test_every_measurement_of_a_mean_is_one_of_its_own_return(name):
    operator = operator_of(name, (4, 6, 3))
    y = jax.random.normal(KEY, operator.measure(jnp.zeros((2, 4, 6, 3))).shape)
    np.testing.assert_allclose(operator.measure(operator.back(y)), y, atol=1e-6)


def test_measurements_that_make_no_sense_are_refused():
    x = jnp.zeros((1, 6, 8, 3))
    for operator, answer in ((Grey(4), "3 channels"), (Lower(4), r"\(6, 8\) cannot be split")):
        with pytest.raises(ValueError, match=answer):
            operator.measure(x)
    for cls in (Grey, Lower):
        with pytest.raises(ValueError, match=">= 1, not 0"):
            cls(0)


SHAPE = (2, 4, 3)


@pytest.mark.parametrize("name", OPERATORS)
def test_estimates_agree_with_what_was_measured_and_keep_the_null_space(name):
    """At every t, and for denoisers of two times as for those of one."""
    schedule, operator = VP(), operator_of(name, SHAPE)
    x, truth = (jax.random.normal(jax.random.key(k), (3, *SHAPE)) for k in (0, 1))
    jump, y = gaussian_jump(schedule, MEAN, STD), operator.measure(truth)
    held = consistent(jump, operator, y)
    for t, s in ((0.9, None), (0.9, 0.2), (0.1, 0.0)):
        t, s = jnp.float32(t), None if s is None else jnp.float32(s)
        x0, free = held(x, t, s).x0, jump(x, t, s).x0
        np.testing.assert_allclose(operator.measure(x0), y, atol=1e-5)
        away = x0 - free
        np.testing.assert_allclose(operator.back(operator.measure(away)), away, atol=1e-5)


# Every sampler with one of the measurements, and every measurement with several samplers.
PAIRS = list(zip(FOR_MEANS, itertools.cycle(OPERATORS), strict=False))


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "name"), PAIRS)
def test_samples_measure_what_was_measured_and_are_free_where_nothing_was(sampler, name):
    """Data of independent elements: in the null space the sample is that without a measurement.

    Few elements, so that the Langevin corrector's steps do not depend on the rest of the example.
    """
    schedule, operator, sampler = VP(), operator_of(name, SHAPE), ROWS[sampler]
    denoise, adaptive = ideal(sampler, schedule), convergence(sampler) == np.inf
    times = LogSNRGrid().times(schedule, 2 if adaptive else 8)
    x = prior(schedule, KEY, jnp.zeros((2, *SHAPE)))
    truth = MEAN + STD * jax.random.normal(jax.random.key(3), x.shape)
    y = operator.measure(truth)

    @jax.jit
    def run(x, y):
        ends = (consistent(denoise, operator, y), denoise)
        return [sample(one, schedule, sampler, times, x=x, key=KEY) for one in ends]

    held, free = run(x, y)
    np.testing.assert_allclose(operator.measure(held), y, atol=1e-5)
    away = held - free
    tolerance = 1e-3 if adaptive else 1e-5
    np.testing.assert_allclose(operator.back(operator.measure(away)), away, atol=tolerance)


@pytest.mark.parametrize("name", OPERATORS)
def test_samples_have_the_conditional_law_of_the_data(name):
    """x_0 ~ N(m, s^2 I) given y: mean A+ y + (I - A+ A) m, covariance s^2 (I - A+ A)."""
    schedule, count, shape = VP(), 10_000, (2, 3)
    operator = operator_of(name, shape)
    a, inverse = matrices(operator, shape)
    null = np.eye(6) - inverse @ a
    truth = jnp.linspace(-1, 1, 6).reshape(1, *shape)
    y = jnp.repeat(operator.measure(truth), count, 0)
    denoise = consistent(gaussian(schedule, MEAN, STD), operator, y)
    times = LogSNRGrid().times(schedule, 60)

    @jax.jit
    def run(key):
        x = prior(schedule, key, jnp.zeros((count, *shape)))
        return sample(denoise, schedule, Heun(), times, x=x, key=key)

    got = np.asarray(run(KEY), np.float64).reshape(count, 6)
    mean = inverse @ a @ np.ravel(truth) + null @ np.full(6, MEAN)
    np.testing.assert_allclose(got.mean(0), mean, atol=0.02)
    np.testing.assert_allclose(np.cov(got.T), STD**2 * null, atol=0.015)


def test_a_mask_may_be_one_for_all_channels_or_each_examples_own():
    x = jax.random.normal(KEY, (2, 4, 4, 3))
    for shape in ((4, 4, 1), (2, 4, 4, 1), (2, 1, 1, 1)):
        mask = jax.random.bernoulli(jax.random.key(2), 0.5, shape)
        operator = Masked(mask)
        np.testing.assert_array_equal(operator.back(operator.measure(x)), x * mask)
