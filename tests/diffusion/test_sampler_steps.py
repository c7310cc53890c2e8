"""Laws of every sampler's step: times of each example's own, times that come twice, precision."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import KEY, ROWS, SET, SPARING, evaluations, grid_of, ideal, start

from ddm_jax.diffusion.arrays import fold_in
from ddm_jax.diffusion.process import Estimate
from ddm_jax.diffusion.samplers.linear_multistep import DEIS, PNDM
from ddm_jax.diffusion.samplers.loop import prior, sample
from ddm_jax.diffusion.samplers.one_step import Heun
from ddm_jax.diffusion.samplers.timesteps import TIMESTEPS, LogSNRGrid, UniformGrid
from ddm_jax.diffusion.schedules import SCHEDULES
from ddm_jax.diffusion.schedules.continuous import VP, ContinuousCosine
from ddm_jax.diffusion.schedules.discrete import Linear
from ddm_jax.diffusion.schedules.rates import Flow

pytestmark = pytest.mark.usefixtures("quick_compilation")

VARIANTS = {"pndm-runge_kutta": PNDM("runge_kutta"), "heun-churn": Heun(churn=0.3)}
VARIANTS = [pytest.param(sampler, id=name) for name, sampler in VARIANTS.items()]


@pytest.mark.parametrize("sampler", [*SPARING, *VARIANTS])
def test_times_of_each_examples_own_give_what_it_gets_alone(sampler):
    """Over steps with a memory, in the loop, and where (B,) could pass for the last axes of x."""
    schedule = VP()
    denoise, size = ideal(sampler, schedule), 3
    times = jnp.array([[0.95, 0.9, 0.8], [0.8, 0.6, 0.75], [0.5, 0.55, 0.3], [0.1, 0.4, 0.01]])
    keys, x = fold_in(KEY, jnp.arange(size)), jax.random.normal(KEY, (size, size, 1))

    @jax.jit
    def run(x, times, keys):
        return sample(denoise, schedule, sampler, times, x=x, key=keys)

    together = run(x, times, keys)
    assert together.shape == x.shape
    for i in range(size):
        alone = run(x[i : i + 1], times[:, i], keys[i : i + 1])
        np.testing.assert_allclose(together[i : i + 1], alone, atol=2e-5)


@pytest.mark.parametrize("sampler", SPARING)
def test_a_time_that_comes_twice_changes_nothing(sampler):
    """Wherever in the grid; and a step of no length leaves x finite, with and without a memory."""
    schedule = ContinuousCosine()
    denoise, x0 = ideal(sampler, schedule), start(ContinuousCosine(), (2, 3))
    once = UniformGrid().times(schedule, 6)

    @jax.jit
    def run(times, x):
        return sample(denoise, schedule, sampler, times, x=x, key=KEY)

    @jax.jit
    def step(x, t, s, key, memory):
        return sampler.step(denoise, schedule, x, t=t, s=s, key=key, memory=memory)

    def twice(*places):
        return np.insert(once, places, once[list(places)])

    x, memory = x0, sampler.init(x0)
    for k, (t, s) in enumerate(itertools.pairwise(once)):
        x, memory = step(x, t, s, fold_in(KEY, k), memory)
    expected, zero = run(twice(5, 5, 5), x0), jnp.zeros(())
    np.testing.assert_allclose(expected, denoise(x, once[-1], zero).x0, atol=2e-5)
    for places in ((0, 0, 2), (1, 3, 4)):
        np.testing.assert_array_equal(run(twice(*places), x0), expected)

    x, memory = x0, sampler.init(x0)
    for t, s in itertools.pairwise(np.float32([0.5, 0.5, 0.3, 0.3, 0.2])):
        x, memory = step(x, t, s, KEY, memory)
        assert jnp.isfinite(x).all()


def no_nan(sampler, schedule):
    """All grids of all counts through one program: shorter grids stay at their last time."""
    denoise, x = ideal(sampler, schedule), prior(schedule, KEY, jnp.zeros((2, 2)))
    run = jax.jit(lambda times, x: sample(denoise, schedule, sampler, times, x=x, key=KEY))
    for name in TIMESTEPS:
        for count in (1, 2, 3, 10, 50, 100):
            times = np.asarray(grid_of(name, count).times(schedule, count))
            assert jnp.isfinite(run(np.pad(times, (0, 100 - count), "edge"), x)).all(), (
                name,
                count,
            )


FIXED = {name: sampler for name, sampler in ROWS.items() if evaluations(sampler)}
STEEP = "sigmoid-1"


@pytest.mark.parametrize("name", ["ddpm", "deis", "dpmpp_3m", "unipc", "predictor_corrector"])
def test_no_grid_of_any_count_ends_in_nan(name):
    no_nan(ROWS[name], SET[STEEP])


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("name", sorted(SET))
def test_no_grid_of_any_count_ends_in_nan_on_any_schedule(sampler, name):
    if evaluations(sampler) is None and not name.endswith("-0"):
        pytest.skip("a solver to a tolerance compiles long: the defaults alone")
    no_nan(sampler, SET[name])


PRECISE = {
    name: pytest.param(schedule, marks=[] if name == "cosine" else pytest.mark.slow, id=name)
    for name, schedule in ((name, cls()) for name, cls in SCHEDULES.items())
}


# One of each family; the others are simpler, or algebraically the same.
FAMILIES = ("ddpm", "heun", "euler_maruyama", "deis", "dpmpp_3m", "unipc", "predictor_corrector")


@pytest.mark.parametrize(
    "sampler",
    [
        pytest.param(sampler, marks=[] if name in FAMILIES else pytest.mark.slow, id=name)
        for name, sampler in FIXED.items()
    ],
)
@pytest.mark.parametrize("schedule", PRECISE.values())
def test_float32_gives_what_float64_gives(sampler, schedule):
    """The same times and noise; on the discrete cosine sigma / alpha falls from 20,291."""
    times, x = np.asarray(LogSNRGrid().times(schedule, 30)), np.asarray(start(schedule, (4, 3)))

    def run(dtype):
        walk = jax.jit(
            lambda t, x: sample(ideal(sampler, schedule), schedule, sampler, t, x=x, key=KEY)
        )
        return np.asarray(walk(times.astype(dtype), x.astype(dtype)))

    single = run(np.float32)
    with jax.enable_x64(True):
        double = run(np.float64)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(single, double, atol=1e-5)


def mean_of_powers(schedule, variable, t, s, powers):
    """E[p^k] over the step from t to s, p the place in `variable` and r its own weight; float64.

    By a fine trapezoidal rule in t, with the weight dr as a difference.
    """
    v = 0.5 - 0.5 * np.cos(np.linspace(0.0, np.pi, 400_001))
    with jax.enable_x64(True):
        half = np.asarray(0.5 * schedule.logsnr(jnp.asarray(t + v * (s - t))))
    r = np.exp(-half)
    place = v if variable == "t" else (half - half[0]) / (half[-1] - half[0])
    weight = np.diff(r) / (r[-1] - r[0])
    return [(weight * 0.5 * (place[1:] ** k + place[:-1] ** k)).sum() for k in powers]


@pytest.mark.parametrize("variable", ["t", "log_rho"])
@pytest.mark.parametrize(
    ("schedule", "tolerance"), [(VP(), 2e-6), (Flow(), 2e-6), (Linear(), 5e-5)], ids=repr
)
def test_the_quadrature_of_deis_is_exact(schedule, tolerance, variable):
    """One step of order 3 over slopes that are known: its gain is linear in their moments.

    The steps are as long as they come, from the noisiest level and to the least noisy one.
    """
    sampler, x = DEIS(3, variable), jnp.zeros((1, 1))

    def nothing(x, t, s=None):
        return Estimate(jnp.zeros_like(x))

    def place(u, t, s):
        if variable == "t":
            return (u - t) / (s - t)
        at = [float(schedule.logsnr(jnp.float32(v))) for v in (u, t, s)]
        return (at[0] - at[1]) / (at[2] - at[1])

    def ratio(u):
        return np.exp(-0.5 * float(schedule.logsnr(jnp.float32(u))))

    for *before, t, s in ((1.0, 0.9, 0.8, 0.3), (0.9, 0.7, 0.5, 0.0), (0.4, 0.3, 0.1, 0.0)):
        memory = sampler.init(x)
        for u in before:
            _, memory = sampler.step(nothing, schedule, x, t=u, s=u, key=KEY, memory=memory)
        older, newer = (place(u, t, s) for u in before)
        (r_t, r_s), alpha_s = (ratio(u) for u in (t, s)), float(schedule.alpha(s))
        per_slope = alpha_s * (r_s - r_t)
        means = mean_of_powers(schedule, variable, t, s, (1, 2))
        # Lagrange's polynomials that are 1 at one earlier place, and 0 at the other and at t.
        for own, other, slopes in ((newer, older, (1.0, 0.0)), (older, newer, (0.0, 1.0))):
            expected = (means[1] - other * means[0]) / (own * (own - other))
            held = memory._replace(values=tuple(jnp.full_like(x, v) for v in slopes))
            got, _ = sampler.step(nothing, schedule, x, t=t, s=s, key=KEY, memory=held)
            gain = float(got[0, 0]) / per_slope
            assert gain == pytest.approx(expected, rel=20 * tolerance, abs=tolerance)
