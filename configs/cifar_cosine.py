"""CIFAR-10 with the cosine schedule, eps-prediction and DDIM sampling in 100 steps.

python launch.py --config configs/cifar_cosine.py

The network and optimiser are those of configs/cifar_linear.py. Schedule: Nichol & Dhariwal 2021
(arXiv:2102.09672). No number of ours stands here yet: the run needs an accelerator.
"""

from configs import cifar_linear


def get_config():
    config = cifar_linear.get_config()
    config.schedule.name = "cosine"
    config.ema.warmup = True
    config.sampler.name = "ddim"
    config.sample.steps = 100
    return config
