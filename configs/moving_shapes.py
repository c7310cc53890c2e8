"""Clips of a coloured shape that moves evenly, 8 frames of 16 x 16: shape and direction are told.

python launch.py --config configs/moving_shapes.py

Frames pass a U-Net one by one, with convolutions and attention through time; it predicts them and
not noise, as shapes are flat, under a learned weighting. Eight frames show a motion through more
noise than one picture a garment, so the schedule is shifted to where the direction is decided. The
oracle reads 42.7 % of 96 clips as asked, of which the direction is the harder part; more is in
experiments/gallery.

python launch.py --mode sample --workdir runs/moving_shapes --config.sample.count=96
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.update(name="moving_shapes", count=20_000)
    config.model.ddpm_unet.update(
        channels=16, multipliers=(1, 3, 4), blocks=1, attention=(4,), dropout=0.0
    )
    config.model.ddpm_unet.update(scale_shift=True, space_time="factorised")
    config.schedule.name = "continuous_cosine"
    config.schedule.continuous_cosine.shift = -2.5
    config.prediction.name = "x0"
    config.objective.name = "uncertainty"
    config.condition.name = "classes"
    config.loss.class_dropout = 0.1
    config.guidance.name = "classifier_free"
    config.guidance.classifier_free.scale = 2.0
    config.optim.update(name="muon", lr=5e-3, warmup=100, decay="cosine")
    config.average.ema.decay = 0.998
    config.train.update(steps=800, batch=16, log_every=50, save_every=200, sample_every=0)
    config.sampler.name = "dpmpp_2m"
    config.sample.update(count=48, batch=48, steps=20, film=8)
    return config
