"""From an image to the noise that it is sampled from."""

import jax.numpy as jnp

from ddm_jax.diffusion.arrays import Grid, Keys, X, expand
from ddm_jax.diffusion.process import Denoise, diffuse, noise_of
from ddm_jax.diffusion.samplers.base import Sampler
from ddm_jax.diffusion.samplers.loop import invert
from ddm_jax.diffusion.schedules.base import Schedule


def unsample(
    denoise: Denoise, schedule: Schedule, sampler: Sampler, times: Grid, *, x0: X, key: Keys
) -> X:
    """The x (B, ...) at times[0] from which `loop.sample` leads back to x0: its inverse.

    From x_0 to times[-1], the least noisy time, by one step of DDIM with the noise that the
    denoiser sees there in alpha x_0; from there by `loop.invert`. So sampling and its inverse agree
    in the limit of many steps, and for few as far as the order of the sampler lets them. times:
    (n,) decreasing; key: () or (B,). Song et al. 2020, arXiv:2010.02502, section 4.3.
    """
    last = jnp.asarray(times)[-1]
    pure = expand(schedule.alpha(last), x0) * x0
    eps = noise_of(schedule, pure, denoise(pure, last).x0, last)
    return invert(denoise, schedule, sampler, times, x=diffuse(schedule, x0, eps, last), key=key)
