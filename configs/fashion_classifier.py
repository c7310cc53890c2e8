"""A classifier of Fashion-MNIST as it is, without noise: what samples of it are measured by.

python launch.py --config configs/fashion_classifier.py --config.data.dir=<prepared TFDS data>
python launch.py --mode evaluate --workdir runs/fashion_classifier

20 minutes on two cores with other work beside it; 91.0 % of the 10,000 test images.
"""

from configs import base


def get_config():
    config = base.get_config("classifier")
    config.data.name = "tfds:fashion_mnist"
    config.augment.name = "mirror"
    config.model.unet_encoder.update(channels=32, multipliers=(1, 2), patch=2, dropout=0.0)
    config.classifier.noisy = False
    config.optim.update(lr=2e-3, warmup=100, decay="cosine")
    config.average.ema.decay = 0.99
    config.train.update(steps=5500, batch=64, log_every=50, save_every=500, sample_every=0)
    return config
