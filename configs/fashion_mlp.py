"""A multilayer perceptron on flattened Fashion-MNIST, 200 levels, as an introductory text has it.

python launch.py --config configs/fashion_mlp.py --config.data.dir=<prepared TFDS data>
python launch.py --config configs/fashion_mlp.py:x0 --config.data.dir=<prepared TFDS data>

16,000 steps in 2 min 54 s of CPU time each. The first cannot work, as launch.py says and
experiments/fashion_mlp shows: 13 % of the signal is left at the end, and 512 hidden values cannot
pass 784 independent ones, so its samples are noise. `:x0` is the same network with scaled betas
and the image as target, whose samples are blurred garments.
"""

from configs import base


def get_config(variant: str = "published"):
    if variant not in ("published", "x0"):
        raise ValueError(f"fashion_mlp:{variant} is not known; take published or x0")
    config = base.get_config()
    config.data.name = "tfds:fashion_mnist"
    config.model.name = "mlp"
    config.noise_cond.name = "time"
    config.schedule.name = "linear"
    config.schedule.linear.update(num_timesteps=200, scaled=False)
    config.time_sampler.name = "discrete"
    config.optim.lr = 1e-3
    config.average.ema.decay = 0.999
    config.train.update(steps=16_000, batch=128, log_every=100, save_every=2000, sample_every=0)
    config.sampler.name = "ddpm"
    config.sample.update(count=60, batch=60, steps=200)
    if variant == "x0":
        config.schedule.linear.scaled = True
        config.prediction.name = "x0"
        config.sampler.name = "ddim"
        config.sample.steps = 50
    return config
