"""Laws of the sampling grids."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import SET, grid_of

from ddm_jax.diffusion.samplers.timesteps import (
    TIMESTEPS,
    ExplicitGrid,
    KarrasGrid,
    LogSNRGrid,
    UniformGrid,
)
from ddm_jax.diffusion.schedules.discrete import Cosine, Linear
from ddm_jax.diffusion.schedules.rates import EDM, Flow, OffsetCosine


@pytest.mark.parametrize("name", TIMESTEPS)
@pytest.mark.parametrize("schedule", [Linear(), Flow(), OffsetCosine()], ids=repr)
@pytest.mark.parametrize(
    "counts",
    [(1, 2, 3, 4, 5, 7, 10, 25, 49, 50), pytest.param(range(1, 51), marks=pytest.mark.slow)],
    ids=("some", "all"),
)
def test_every_step_count_has_a_strictly_decreasing_grid(name, schedule, counts):
    grids = jax.jit(lambda: [grid_of(name, n).times(schedule, n) for n in counts])()
    for steps, times in zip(counts, map(np.asarray, grids), strict=True):
        assert times.shape == (steps,) and times.dtype == np.float32
        assert (np.diff(times) < 0).all() and times.min() >= 0
        assert times[0] == (1 if name != "leading" else np.float32(1 - 1 / steps))
    with pytest.raises(ValueError, match="at least 1|are listed"):
        TIMESTEPS[name]().times(schedule, 0)


@pytest.mark.parametrize(
    "schedule",
    [
        pytest.param(s, marks=[] if name.endswith(("-0", "-1")) else pytest.mark.slow, id=name)
        for name, s in SET.items()
    ],
)
def test_grids_of_a_thousand_times_decrease_strictly(schedule):
    """On every schedule at every setting of the laws; times even in log-SNR come closest."""
    grids = jax.jit(lambda: [grid_of(name, 1000).times(schedule, 1000) for name in TIMESTEPS])()
    for times in map(np.asarray, grids):
        assert times[0] <= 1 and times[-1] >= 0 and (np.diff(times) < 0).all()


def test_grids_are_even_in_what_they_say():
    schedule = Cosine()
    logsnr = schedule.logsnr(jnp.asarray(LogSNRGrid().times(schedule, 9)))
    np.testing.assert_allclose(np.diff(logsnr), np.diff(logsnr)[0], rtol=1e-3)
    edm = EDM()
    np.testing.assert_allclose(KarrasGrid().times(edm, 9), UniformGrid().times(edm, 9), atol=1e-4)
    sigma = edm.sigma(jnp.asarray(KarrasGrid().times(edm, 3)))
    middle = ((80 ** (1 / 7) + 0.002 ** (1 / 7)) / 2) ** 7
    np.testing.assert_allclose(sigma, [80, middle, 0.002], rtol=1e-3)
    with pytest.raises(ValueError, match="decrease strictly"):
        ExplicitGrid((0.5, 1.0))
