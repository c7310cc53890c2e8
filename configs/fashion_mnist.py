"""Class-conditional Fashion-MNIST, 28 x 28, sized for a CPU.

python launch.py --config configs/fashion_mnist.py --config.data.dir=<prepared TFDS data>

19 min 47 s on two cores without AVX-512, which is 37 min 41 s of CPU time, with samples at the end
alone (`--config.train.sample_every=0`). The first level works on single pixels, of few channels:
where 2 x 2 pixels were folded into channels, samples had dots. What else was tried is in
experiments/recipes, and what it draws in experiments/gallery.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "tfds:fashion_mnist"
    config.model.ddpm_unet.update(
        channels=16, multipliers=(1, 4, 8), blocks=1, attention=(7,), dropout=0.0
    )
    config.condition.name = "classes"
    config.prediction.name = "v"
    config.loss.class_dropout = 0.1
    config.optim.update(name="muon", lr=5e-3, warmup=100, decay="cosine")
    config.average.ema.decay = 0.998
    config.train.update(steps=750, batch=64, log_every=50, save_every=250, sample_every=375)
    config.sampler.name = "ddpm"
    config.sample.update(count=100, batch=100, steps=100)
    config.guidance.name = "classifier_free"
    return config
