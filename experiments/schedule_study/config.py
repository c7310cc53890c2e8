"""A small U-Net on Fashion-MNIST whose schedule and prediction are swept.

python launch.py --config experiments/schedule_study/config.py --workdir runs/schedule_study \
    --sweep schedule.name=linear,cosine,offset_cosine --sweep prediction.name=eps,v
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "tfds:fashion_mnist"
    config.model.ddpm_unet.update(
        channels=64, multipliers=(1,), blocks=2, patch=4, attention=(), dropout=0.0
    )
    config.noise_cond.name = "logsnr"
    config.optim.update(lr=1e-3, warmup=100, decay="cosine")
    config.average.ema.decay = 0.998
    config.train.update(steps=400, batch=128, log_every=20, save_every=100, sample_every=0)
    config.timesteps.name = "trailing"
    config.sample.update(count=100, batch=100, steps=20)
    return config


def sweep():
    """Every schedule with both predictions."""
    return [
        {"schedule.name": schedule, "prediction.name": prediction}
        for schedule in ("linear", "cosine", "offset_cosine")
        for prediction in ("eps", "v")
    ]
