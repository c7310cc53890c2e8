"""Shapes from 8 x 8 to 16 x 16 RGB: a model that is told the smaller picture, on a CPU.

python launch.py --config configs/shapes_upscale.py
python launch.py --mode sample --workdir runs/shapes_upscale --prompt small.png
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.update(name="shapes", size=(16,), count=20_000)
    config.model.ddpm_unet.update(
        channels=16, multipliers=(1, 2), blocks=1, attention=(), dropout=0.0
    )
    config.condition.name = "image"
    config.condition.image.factor = 2
    config.prediction.name = "v"
    config.optim.update(lr=2e-3, warmup=100, decay="cosine")
    config.average.ema.decay = 0.995
    config.train.update(steps=1000, batch=64, log_every=100, save_every=250, sample_every=500)
    config.sample.update(count=64, batch=64, steps=20)
    config.sampler.name = "dpmpp_2m"
    return config
