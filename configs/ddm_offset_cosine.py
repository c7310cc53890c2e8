"""Continuous signal and noise rates on the offset cosine, a residual U-Net, sampling in 20 steps.

python launch.py --config configs/ddm_offset_cosine.py --config.data.dir=<prepared TFDS data>

1,200 steps take 21 min 43 s of CPU time, 16 min 15 s on two cores; the grids of samples, one an
epoch and one at the end, show garments. Where there is network, tfds:oxford_flowers102 as
--config.data.name, with --config.data.size=64 and --config.model.ddm_unet.channels=32,64,96,128, is
the published set-up.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "tfds:fashion_mnist"
    config.codec.pixels.scaling = "fitted"
    config.model.name = "ddm_unet"
    config.model.ddm_unet.channels = (32, 64, 96)
    config.schedule.name = "offset_cosine"
    config.noise_cond.name = "noise_variance"
    config.distance.name = "l1"
    config.optim.update(lr=1e-3, warmup=100, decay="cosine")
    config.average.ema.decay = 0.999
    config.train.update(steps=1200, batch=64, log_every=50, save_every=300, sample_every=937)
    config.sampler.name = "ddim"
    config.timesteps.name = "trailing"
    config.sample.update(count=60, batch=60, steps=20)
    return config
