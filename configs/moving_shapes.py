r"""Clips of a coloured shape that moves evenly, 8 frames of 16 x 16: shape and direction are told.

python launch.py --config configs/moving_shapes.py

`data.moving_shapes.oracle` reads shape, colour and velocity of what is drawn.
After these 4,000 steps a clip has a clean ground, one colour and a motion, but its shape is rough
and changes on the way; the oracle reads 0.4 % of 240 clips as asked:

python launch.py --mode evaluate --workdir runs/moving_shapes --config.evaluate.samples=240 \
    --config.evaluate.metrics=agreement --config.features.name=oracle
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.update(name="moving_shapes", count=20_000)
    config.model.name = "dit"
    config.model.dit.update(channels=96, depth=4, heads=4, patch=4)
    config.prediction.name = "x0"
    config.weighting.simple.space = "v"
    config.condition.name = "classes"
    config.loss.class_dropout = 0.1
    config.guidance.name = "classifier_free"
    config.guidance.classifier_free.scale = 1.0
    config.optim.update(lr=1e-3, warmup=200, decay="cosine")
    config.average.ema.decay = 0.998
    config.train.update(steps=4000, batch=64, log_every=50, save_every=500, sample_every=0)
    config.sample.update(count=48, batch=48, steps=30, film=8)
    return config
