r"""Synthetic coloured shapes, 32 x 32 RGB, drawn on the spot: no data to fetch.

python launch.py --config configs/shapes.py

Network and optimiser are those of configs/fashion_mnist.py; the class is colour and shape. After
these steps, 58 min 29 s of CPU time with other work beside them, shapes are drawn, but rarely the
ones that were asked for: of 5,000 samples of 20 evaluations the oracle reads 12.3 % as asked, and
at a scale of 5 30 % of 192. configs/shapes_text.py is the one that follows what it is told.

python launch.py --mode evaluate --workdir runs/shapes --config.sampler.name=dpmpp_2m \
    --config.guidance.name=none --config.sample.evaluations=20 --config.evaluate.samples=5000 \
    --config.evaluate.metrics=agreement --config.features.name=oracle
"""

from configs import fashion_mnist


def get_config():
    config = fashion_mnist.get_config()
    config.data.update(name="shapes", size=(32,), count=20_000)
    config.model.ddpm_unet.attention = (8,)
    config.sample.update(count=96, batch=96)
    return config
