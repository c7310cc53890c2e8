"""Samplers as (init, step) pairs with explicit memory.

A sampler sees a denoiser and a schedule, never a network; loop.py drives it along the times that a
row of timesteps.py gives.
"""

from ddm_jax.diffusion.samplers.adaptive import ADAPTIVE
from ddm_jax.diffusion.samplers.exponential import EXPONENTIAL
from ddm_jax.diffusion.samplers.few_step import FEW_STEP
from ddm_jax.diffusion.samplers.langevin import LANGEVIN
from ddm_jax.diffusion.samplers.linear_multistep import LINEAR_MULTISTEP
from ddm_jax.diffusion.samplers.one_step import ONE_STEP

SAMPLERS = {
    **ONE_STEP,
    **FEW_STEP,
    **LINEAR_MULTISTEP,
    **EXPONENTIAL,
    **LANGEVIN,
    **ADAPTIVE,
}
