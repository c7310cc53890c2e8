"""Laws of the way from images to their noise and back, on a denoiser known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import KEY, MEAN, ONE, STD, deviation, grid_of, padded

from ddm_jax.diffusion.analytic import gaussian
from ddm_jax.diffusion.editing.inversion import unsample
from ddm_jax.diffusion.samplers.loop import sample
from ddm_jax.diffusion.samplers.one_step import DDIM, Heun
from ddm_jax.diffusion.schedules.continuous import ContinuousCosine

pytestmark = pytest.mark.usefixtures("quick_compilation")

SCHEDULE = ContinuousCosine()
X0 = MEAN + STD * jax.random.normal(KEY, (4, 16))
STEPS = (20, 40, 80)


@pytest.fixture(scope="module", params=[DDIM(), Heun()], ids=["ddim", "heun"])
def ways(request, quick_compilation):
    """(order of the sampler, the noise behind X0, where it leads back to), by the steps."""
    denoise = gaussian(SCHEDULE, MEAN, STD)

    @jax.jit
    def there_and_back(times):
        x = unsample(denoise, SCHEDULE, request.param, times, x0=X0, key=KEY)
        return x, sample(denoise, SCHEDULE, request.param, times, x=x, key=KEY)

    grids = [padded(grid_of("logsnr", n).times(SCHEDULE, n), STEPS[-1]) for n in STEPS]
    return request.param.convergence, *zip(*map(there_and_back, grids), strict=True)


def slopes(errors):
    return np.log2(np.array(errors[:-1]) / np.array(errors[1:]))


def test_the_noise_is_that_of_the_exact_path_to_the_order_of_the_sampler(ways):
    """x_1 = alpha m + deviation (x_0 - m) / s, the probability flow of N(m, s^2)."""
    order, noises, _ = ways
    exact = SCHEDULE.alpha(ONE) * MEAN + deviation(SCHEDULE, ONE) * (X0 - MEAN) / STD
    errors = [float(abs(x - exact).max()) for x in noises]
    np.testing.assert_allclose(slopes(errors)[-1], order, atol=0.25)


def test_the_way_back_ends_nearer_the_more_steps_there_are(ways):
    """Errors of even order are those of the way back with the other sign, and cancel."""
    order, _, ends = ways
    errors = [float(abs(x0 - X0).max()) for x0 in ends]
    np.testing.assert_allclose(slopes(errors)[-1], order + (order % 2 == 0), atol=0.25)


def test_the_last_step_alone_is_undone_to_second_order_in_the_noise():
    """With one time, t, D(alpha (2 x_0 - D(alpha x_0))) is x_0 but for (1 - alpha D')^2."""
    denoise = gaussian(SCHEDULE, MEAN, STD)
    for t in (0.05, 0.1):
        times = jnp.array([t])
        x = unsample(denoise, SCHEDULE, DDIM(), times, x0=X0, key=KEY)
        alpha, sigma = float(SCHEDULE.alpha(times)[0]), float(SCHEDULE.sigma(times)[0])
        left = (sigma**2 / (alpha**2 * STD**2 + sigma**2)) ** 2
        expected = X0 - left * (X0 - MEAN)
        got = sample(denoise, SCHEDULE, DDIM(), times, x=x, key=KEY)
        np.testing.assert_allclose(got, expected, atol=1e-5)
