"""DDPM on CIFAR-10 as published: linear betas, 1,000 steps, eps-prediction, ancestral sampling.

python launch.py --config configs/cifar_linear.py

Published by Ho et al. 2020 (arXiv:2006.11239), not measured here: FID 3.17 after 800,000 steps.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "tfds:cifar10"
    config.augment.name = "mirror"
    config.schedule.name = "linear"
    config.time_sampler.name = "discrete"
    config.optim.update(lr=2e-4, warmup=5000, clip=1.0)
    config.average.ema.update(decay=0.9999, warmup=False)
    config.train.update(steps=800_000, batch=128, save_every=5000, sample_every=10_000)
    config.train.update(keep_every=100_000)
    config.sampler.name = "ddpm"
    config.sampler.ddpm.variance = "large"
    config.sample.update(count=64, batch=64, steps=1000)
    return config
