"""8 x 8 digits without a condition, led to classes by the classifier of another run, on a CPU.

python launch.py --config configs/digits_classifier.py
python launch.py --config configs/digits_guided.py

Some ten minutes on two cores. Of 500 samples 99.8 % are read as asked: experiments/guidance.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "digits"
    config.model.ddpm_unet.update(
        channels=64, multipliers=(1, 2), blocks=1, attention=(4,), dropout=0.0
    )
    config.schedule.name = "flow"
    config.prediction.name = "velocity"
    config.optim.update(lr=1e-3, warmup=100, decay="cosine")
    config.average.ema.decay = 0.995
    config.train.update(steps=1000, batch=128, log_every=50, save_every=250, sample_every=500)
    config.sample.update(count=100, batch=100, steps=20)
    config.guidance.name = "classifier"
    config.guidance.classifier.update(run="runs/digits_classifier", scale=4.0)
    return config
