"""Synthetic coloured shapes, 32 x 32 RGB, drawn on the spot: no data to fetch.

python launch.py --config configs/shapes.py

Network and optimiser are those of configs/fashion_mnist.py; the class is colour and shape.
"""

from configs import fashion_mnist


def get_config():
    config = fashion_mnist.get_config()
    config.data.update(name="shapes", size=(32,), count=20_000)
    config.model.ddpm_unet.attention = (8,)
    config.sample.update(count=96, batch=96)
    return config
