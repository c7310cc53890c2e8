"""A classifier of 8 x 8 digits at every noise level, to guide with, on a CPU.

python launch.py --config configs/digits_classifier.py
python launch.py --mode evaluate --workdir runs/digits_classifier

Some two minutes on two cores.
"""

from configs import base


def get_config():
    config = base.get_config("classifier")
    config.data.name = "digits"
    config.model.unet_encoder.update(channels=32, multipliers=(1, 2), blocks=1, attention=(4,))
    config.noise_cond.name = "logsnr"
    config.optim.update(lr=1e-3, warmup=100, decay="cosine")
    config.average.ema.decay = 0.995
    config.train.update(steps=1000, batch=128, log_every=50, save_every=250, sample_every=500)
    return config
