"""Volumes of one solid each, 12 x 12 x 12: ball, cube, cone or torus, which is told.

python launch.py --config configs/solids.py

`data.solids.oracle` tells which solid was drawn.
"""

from configs import moving_shapes


def get_config():
    config = moving_shapes.get_config()
    config.data.name = "solids"
    config.train.steps = 2000
    config.sample.film = 16
    return config
