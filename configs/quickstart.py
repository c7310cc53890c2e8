r"""Class-conditional 8 x 8 digits on a CPU, no network needed.

python launch.py --config configs/quickstart.py

2 min 18 s on two cores without AVX-512, compiled anew. A support-vector classifier reads all of 500
samples as asked, and 99.05 to 99.33 % of 4,000 that are drawn without guidance, by three seeds:

python launch.py --mode sample --workdir runs/quickstart --config.guidance.name=none \
    --config.sample.count=4000
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "digits"
    config.model.ddpm_unet.update(
        channels=24, multipliers=(1, 2), blocks=1, attention=(), dropout=0.0
    )
    config.condition.name = "classes"
    config.prediction.name = "v"
    config.loss.class_dropout = 0.1
    config.optim.update(lr=3e-3, warmup=100, decay="cosine")
    config.average.ema.decay = 0.995
    config.train.update(steps=1600, batch=64, log_every=100, save_every=400, sample_every=800)
    config.sample.update(count=100, batch=100, steps=10)
    config.guidance.name = "classifier_free"
    return config


def sweep():
    """What a bare --sweep trains: every prediction with as many steps."""
    return [{"prediction.name": name} for name in ("eps", "x0", "v")]
