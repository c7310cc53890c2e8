"""Synthetic coloured shapes, 32 x 32 RGB, drawn on the spot: no data to fetch.

python launch.py --config configs/shapes.py
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.update(name="shapes", size=32, count=20_000)
    config.model.unet.update(
        channels=64,
        multipliers=(1, 2),
        blocks=1,
        patch=2,
        attention=(8,),
        dropout=0.0,
        conditional=True,
    )
    config.prediction.name = "v"
    config.loss.label_dropout = 0.1
    config.optim.update(lr=1e-3, warmup=200, decay="cosine")
    config.ema.decay = 0.998
    config.train.update(steps=2000, batch=64, log_every=50, save_every=500, sample_every=500)
    config.sample.update(count=96, batch=96, steps=50)
    return config
