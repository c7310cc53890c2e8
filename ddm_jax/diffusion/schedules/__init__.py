"""Noise schedules: frozen dataclasses with alpha(t), sigma(t), logsnr(t) and its inverse time().

t in [0, 1] runs from the least noisy level to the noisiest; both ends are finite. Those that are
published as betas are in discrete.py, those given by a log-SNR or a stochastic differential
equation in continuous.py, those given by their rates in rates.py, the one with parameters of its
own in learned.py.
"""

from ddm_jax.diffusion.schedules.continuous import CONTINUOUS
from ddm_jax.diffusion.schedules.discrete import DISCRETE
from ddm_jax.diffusion.schedules.learned import Learned
from ddm_jax.diffusion.schedules.rates import EDM, VE, Flow, OffsetCosine

SCHEDULES = {
    **DISCRETE,
    **CONTINUOUS,
    "offset_cosine": OffsetCosine,
    "ve": VE,
    "edm": EDM,
    "flow": Flow,
    "learned": Learned,
}
