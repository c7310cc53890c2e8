"""Class-conditional Fashion-MNIST, 28 x 28, sized for a CPU.

python launch.py --config configs/fashion_mnist.py --config.data.dir=<prepared TFDS data>
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "tfds:fashion_mnist"
    config.model.ddpm_unet.update(
        channels=64,
        multipliers=(1, 2),
        blocks=1,
        patch=2,
        attention=(7,),
        dropout=0.0,
    )
    config.condition.name = "classes"
    config.prediction.name = "v"
    config.loss.class_dropout = 0.1
    config.optim.update(lr=1e-3, warmup=200, decay="cosine")
    config.average.ema.decay = 0.998
    config.train.update(steps=2000, batch=64, log_every=50, save_every=500, sample_every=1000)
    config.sampler.name = "ddpm"
    config.sample.update(count=100, batch=100, steps=100)
    config.guidance.name = "classifier_free"
    return config
