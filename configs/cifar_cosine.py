"""CIFAR-10 with the cosine schedule, eps-prediction and DDIM sampling in 100 steps.

python launch.py --config configs/cifar_cosine.py

The network and optimiser are those of configs/cifar_linear.py. Schedule: Nichol & Dhariwal 2021
(arXiv:2102.09672). Published by Song et al. 2020 (arXiv:2010.02502) for DDIM in 100 steps, on a
network trained with linear betas, not measured here: FID 4.16. The run needs an accelerator.
"""

from configs import cifar_linear


def get_config():
    config = cifar_linear.get_config()
    config.schedule.name = "cosine"
    config.average.ema.warmup = True
    config.sampler.name = "ddim"
    config.sample.steps = 100
    return config
