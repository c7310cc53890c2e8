"""Volumes of one solid each, 12 x 12 x 12: ball, cube, cone or torus, which is told.

python launch.py --config configs/solids.py

`data.solids.oracle` tells which solid was drawn.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.update(name="solids", count=20_000)
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
    config.train.update(steps=2000, batch=64, log_every=50, save_every=500, sample_every=0)
    config.sample.update(count=48, batch=48, steps=30, film=16)
    return config
