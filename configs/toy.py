"""Points in the plane: moons, rings, checkerboard, swiss_roll or mixture.

python launch.py --config configs/toy.py
python launch.py --config configs/toy.py:rings
"""

from configs import base
from ddm_jax.data.points import POINT_SETS


def get_config(variant: str = "moons"):
    if variant not in POINT_SETS:
        raise ValueError(f"toy:{variant} is not known; take {', '.join(POINT_SETS)}")
    config = base.get_config()
    config.data.name = variant
    config.codec.pixels.scaling = "fitted"
    config.model.name = "residual_mlp"
    config.prediction.name = "v"
    if POINT_SETS[variant].classes:
        config.condition.name = "classes"
        config.loss.class_dropout = 0.1
        config.guidance.name = "classifier_free"
        config.guidance.classifier_free.scale = 1.0
    config.optim.update(lr=2e-3, warmup=100, decay="cosine")
    config.average.ema.decay = 0.995
    config.train.update(steps=2000, batch=512, log_every=100, save_every=1000, sample_every=0)
    config.sample.update(count=2000, batch=2000, steps=30, film=200)
    config.evaluate.metrics = ("mmd", "sliced_wasserstein")
    return config
