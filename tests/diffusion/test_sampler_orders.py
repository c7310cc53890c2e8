"""Orders of convergence of the deterministic samplers, and identities between them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import DETERMINISTIC, KEY, MEAN, ONE, STD, ZERO, convergence, deviation, padded

from ddm_jax.diffusion.analytic import gaussian, gaussian_flow
from ddm_jax.diffusion.arrays import normal_like
from ddm_jax.diffusion.process import Estimate
from ddm_jax.diffusion.samplers.adaptive import Adaptive
from ddm_jax.diffusion.samplers.exponential import DPMpp3M, UniPC
from ddm_jax.diffusion.samplers.linear_multistep import DEIS, PNDM, AdamsBashforth
from ddm_jax.diffusion.samplers.loop import integrate, invert
from ddm_jax.diffusion.samplers.one_step import DDIM, Euler, EulerAncestral, Heun
from ddm_jax.diffusion.samplers.timesteps import LogSNRGrid, UniformGrid
from ddm_jax.diffusion.schedules.continuous import VP, ContinuousCosine
from ddm_jax.diffusion.schedules.discrete import Cosine, Linear
from ddm_jax.diffusion.schedules.rates import EDM, VE, Flow, OffsetCosine

pytestmark = pytest.mark.usefixtures("quick_compilation")

OTHERS = [
    *(AdamsBashforth(order) for order in (1, 3, 4)),
    *(DEIS(order, variable) for order in (2, 3) for variable in ("t", "rho")),
    DEIS(2),
    PNDM("runge_kutta"),
    *(UniPC(order, variant) for order in (1, 3) for variant in ("bh1", "bh2")),
    UniPC(2, "bh1"),
]
FIXED = [s for s in DETERMINISTIC if convergence(s) < np.inf]
SCHEDULES = [VP(), VE(), Flow(0.02)]
CASES = [(s, schedule) for s in FIXED for schedule in SCHEDULES] + [(s, VP()) for s in OTHERS]
CASES += [pytest.param(s, OffsetCosine(), marks=pytest.mark.slow) for s in FIXED]


def errors_of(sampler, schedule, grids):
    """The largest distance from the Gaussian's exact flow, for nine starts at t = 1."""

    @jax.jit
    def error(times):
        x = jnp.linspace(-2, 2, 9)[:, None] * schedule.sigma(ONE)
        exact = gaussian_flow(schedule, MEAN, STD, x, t=ONE, s=times[-1])
        got = integrate(gaussian(schedule, MEAN, STD), schedule, sampler, times, x=x, key=KEY)
        return abs(got - exact).max()

    return [float(error(padded(times, max(map(len, grids))))) for times in grids]


# In float32 high orders reach rounding on fine grids.
COUNTS = {1: (41, 81), 2: (61, 121), 3: (41, 81), 4: (81, 161)}


@pytest.mark.parametrize(("sampler", "schedule"), CASES, ids=repr)
def test_deterministic_samplers_converge_with_their_published_order(sampler, schedule):
    """To the exact flow of the Gaussian, on grids even in log-SNR."""
    published = convergence(sampler)
    grids = [LogSNRGrid().times(schedule, n) for n in COUNTS[published]]
    errors = errors_of(sampler, schedule, grids)
    order = np.log2(errors[0] / errors[1])
    assert errors[1] < 5e-6 or order > 0.85 * published, (errors, order)
    if published < 3:  # higher ones gain another order here, where the last slope is 0
        assert order < published + 0.4, (errors, order)


@pytest.mark.parametrize("sampler", FIXED, ids=repr)
def test_inversion_leads_back_and_closes_in_with_more_steps(sampler):
    schedule = ContinuousCosine(-6.0, 6.0)
    denoise, x0 = gaussian(schedule, MEAN, STD), jnp.linspace(-0.5, 1.3, 7)[:, None]
    there = jax.jit(lambda times, x: invert(denoise, schedule, sampler, times, x=x, key=KEY))
    errors = []
    for steps in (20, 80):
        times = padded(LogSNRGrid().times(schedule, steps), 80)
        back = there(times[::-1], there(times, x0))  # the inverse of the inverse: sampling
        errors.append(float(abs(back - x0).max()))
    assert errors[1] < 0.05 and errors[1] < 0.4 * errors[0]


@pytest.mark.parametrize("schedule", [Linear(), Cosine(), VP(), OffsetCosine()], ids=repr)
def test_euler_in_sigma_is_ddim(schedule):
    """The discrete cosine's last level, where sigma / alpha = 20,291, included."""
    denoise, x = gaussian(schedule, MEAN, STD), jax.random.normal(KEY, (6, 4))

    @jax.jit
    def both(times):
        return [integrate(denoise, schedule, s, times, x=x, key=KEY) for s in (Euler(), DDIM())]

    for steps in (2, 5, 15, 50):
        np.testing.assert_allclose(
            *both(padded(UniformGrid().times(schedule, steps), 50)), atol=1e-5
        )


@pytest.mark.parametrize("schedule", [Linear(), Cosine(), VE(), Flow()], ids=repr)
def test_euler_ancestral_is_ddim_with_eta_one(schedule):
    denoise = gaussian(schedule, MEAN, STD)
    x = jax.random.normal(KEY, (6, 4))
    t, s = ONE, jnp.float32(0.5)
    a, _ = EulerAncestral().step(denoise, schedule, x, t=t, s=s, key=KEY, memory=())
    b, _ = DDIM(1.0).step(denoise, schedule, x, t=t, s=s, key=KEY, memory=())
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_heun_is_the_trapezoidal_rule_of_karras_algorithm_2():
    """In sigma itself, on the EDM schedule, with the churn's noise given."""
    schedule, denoise = EDM(), gaussian(EDM(), MEAN, STD)
    t, s = jnp.float32(0.5), jnp.float32(0.4)
    a, b = float(schedule.sigma(t)), float(schedule.sigma(s))
    x = np.array([[1.0], [-2.0]])

    def d(x, sigma):
        return (x - (MEAN + STD**2 / (STD**2 + sigma**2) * (x - MEAN))) / sigma

    for churn in (0.0, 0.2):
        hat = (1 + churn) * a
        z = np.asarray(normal_like(KEY, jnp.asarray(x)))
        lifted = x + np.sqrt(hat**2 - a**2) * z
        ahead = lifted + (b - hat) * d(lifted, hat)
        expected = lifted + (b - hat) * (d(lifted, hat) + d(ahead, b)) / 2
        got, _ = Heun(churn=churn).step(
            denoise, schedule, jnp.float32(x), t=t, s=s, key=KEY, memory=()
        )
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def test_pndm_has_order_four_where_steps_are_equal_in_sigma():
    """It is Adams-Bashforth there; on the grids even in log-SNR above, its order is 2."""
    schedule = EDM(min_sigma=1.0, max_sigma=5.0, rho=1.0)
    grids = [UniformGrid().times(schedule, n) for n in (5, 33, 65)]
    plain, lms = (errors_of(s, schedule, grids[:2]) for s in (PNDM(), AdamsBashforth(4)))
    assert plain == pytest.approx(lms, rel=1e-2)
    errors = errors_of(PNDM("runge_kutta"), schedule, grids[1:])
    assert np.log2(errors[0] / errors[1]) > 3.5, errors


def polynomial(degree, schedule, t):
    """A polynomial in half log-SNR l."""
    half = 0.5 * schedule.logsnr(t)
    return sum((0.3 * half - 0.2) ** k for k in range(degree + 1))


def moved(degree, schedule, x, t, s):
    """x_s where x0_hat is the polynomial, by quadrature in float64: dy/dl = x0_hat - y."""
    a, b = (0.5 * float(schedule.logsnr(u)) for u in (t, s))
    nodes, weights = np.polynomial.legendre.leggauss(20)
    half = a + (b - a) * (nodes + 1) / 2
    values = sum((0.3 * half - 0.2) ** k for k in range(degree + 1))
    integral = (b - a) / 2 * (weights * np.exp(half - b) * values).sum()
    return schedule.sigma(s) / schedule.sigma(t) * x + schedule.alpha(s) * integral


EXACT = [(DPMpp3M(), 2, 2), (UniPC(3), 2, 3), (UniPC(2), 0, 2)]


@pytest.mark.parametrize(("sampler", "predicts", "corrects"), EXACT, ids=repr)
def test_exponential_solvers_are_exact_for_polynomials(sampler, predicts, corrects):
    """The predictor for those in l of one degree, the corrector (if any) of another one."""
    schedule, times = ContinuousCosine(-6.0, 6.0), jnp.array([0.8, 0.72, 0.6, 0.5, 0.37])
    # A step that starts on the solution must end on it.
    for degree, checked in ((predicts, "predicted"), (corrects, "corrected")):

        def denoise(x, t, s=None, degree=degree):
            return Estimate(jnp.full_like(x, polynomial(degree, schedule, t)))

        x = jnp.ones((1, 1))
        memory = sampler.init(x)
        for k, (t, s) in enumerate(zip(times[:-1], times[1:], strict=True)):
            got, memory = sampler.step(denoise, schedule, x, t=t, s=s, key=KEY, memory=memory)
            exact = moved(degree, schedule, x, t, s)
            if k == 3 and checked == "predicted":
                np.testing.assert_allclose(got, exact, rtol=2e-6)
            if isinstance(sampler, UniPC):
                if k == 3 and checked == "corrected":
                    np.testing.assert_allclose(memory[0], x, rtol=2e-6)
                memory = (x, memory[1])
            x = exact


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_adams_bashforth_is_exact_for_slopes_that_are_polynomials_in_r(order):
    schedule, times = EDM(0.5, 4.0), jnp.array([1.0, 0.9, 0.7, 0.6, 0.4])

    def y(sigma):
        return sum((0.5 * sigma) ** (k + 1) / (k + 1) for k in range(order))

    def denoise(x, t, s=None):
        sigma = schedule.sigma(t)
        return Estimate(x - sigma * 0.5 * sum((0.5 * sigma) ** k for k in range(order)))

    for sampler in [AdamsBashforth(order), DEIS(min(order, 3), "rho")][: 1 + (order < 4)]:
        memory = sampler.init(jnp.zeros((1, 1)))
        for t, s in zip(times[:-1], times[1:], strict=True):
            x = jnp.full((1, 1), y(schedule.sigma(t)))
            got, memory = sampler.step(denoise, schedule, x, t=t, s=s, key=KEY, memory=memory)
        np.testing.assert_allclose(got, y(schedule.sigma(s)), rtol=3e-6)


@pytest.mark.parametrize("sampler", [s for s in DETERMINISTIC if s not in FIXED], ids=repr)
@pytest.mark.parametrize("schedule", [Cosine(), VE(), Flow()], ids=repr)
def test_adaptive_samplers_need_two_times(sampler, schedule):
    (error,) = errors_of(sampler, schedule, [np.array([1.0, 0.0], np.float32)])
    assert error < 1e-4


def test_the_tolerance_is_what_it_says():
    times, loose = np.array([1.0, 0.0], np.float32), Adaptive(1e-2, 1e-2, solver="bosh3")
    tight = Adaptive(1e-5, 1e-5, solver="bosh3")
    errors = [errors_of(sampler, VE(), [times])[0] for sampler in (loose, tight)]
    assert errors[0] < 0.01 and errors[1] < 0.1 * errors[0], errors


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["tsit5", "bosh3", "dopri8"])
def test_the_adaptive_solver_leads_back(solver):
    schedule, x0 = ContinuousCosine(-6.0, 6.0), jnp.linspace(-0.5, 1.3, 7)[:, None]
    denoise, times = gaussian(schedule, MEAN, STD), np.array([1.0, 0.0], np.float32)
    sampler = Adaptive(solver=solver)
    walk = jax.jit(lambda times, x: integrate(denoise, schedule, sampler, times, x=x, key=KEY))
    noise = walk(times[::-1], x0)
    scale = deviation(schedule, ONE) / deviation(schedule, ZERO)
    middle = schedule.alpha(ONE) * MEAN + scale * (x0 - schedule.alpha(ZERO) * MEAN)
    np.testing.assert_allclose(noise, middle, atol=1e-3)
    np.testing.assert_allclose(walk(times, noise), x0, atol=1e-3)


def test_an_example_that_needs_too_many_steps_is_nan_and_its_neighbours_are_not():
    schedule, times = VP(), np.array([1.0, 0.0], np.float32)

    def denoise(x, t, s=None):  # the first example's x_0 swings with log-SNR
        swing = jnp.array([[1.0], [0.0]]) * jnp.sin(40 * schedule.logsnr(t))[:, None]
        return Estimate(jnp.full_like(x, MEAN) + swing)

    sampler = Adaptive(max_steps=60)
    x = integrate(denoise, schedule, sampler, times, x=jnp.ones((2, 1)), key=KEY)
    assert jnp.isnan(x[0]).all() and jnp.isfinite(x[1]).all()
