"""EDM on 8 x 8 digits on a CPU, no network needed: 35 evaluations of Heun, augmentation told.

python launch.py --config configs/digits_edm.py
python launch.py --mode sample --workdir runs/digits_edm --config.average.power.length=0.13

The second draws with an average of another length, made of the checkpoints that were kept. `:edm2`
has the network of EDM2, whose layers and weights keep their sizes, and its learned weighting:
python launch.py --config configs/digits_edm.py:edm2
"""

from configs import cifar_edm


def get_config(network: str = "edm"):
    if network not in ("edm", "edm2"):
        raise ValueError(f"digits_edm:{network} is not known; take edm or edm2")
    config = cifar_edm.get_config()
    config.data.name = "digits"
    config.model.ddpm_unet.update(
        channels=32, multipliers=(1, 2), blocks=1, attention=(4,), dropout=0.0
    )
    config.condition.name = "classes"
    config.augment.geometric.kinds = ("scale", "rotate", "stretch", "shift")
    config.optim.update(lr=2e-3, warmup=100, decay="cosine")
    config.average.name = "power"
    config.train.update(steps=1000, batch=128, log_every=50, save_every=100, keep_every=100)
    config.train.sample_every = 500
    config.sample.update(count=100, batch=100)
    if network == "edm2":
        config.model.name = "edm2_unet"
        config.model.edm2_unet.update(
            channels=32, multipliers=(1, 2), blocks=1, attention=(4,), head_size=32
        )
        config.objective.name = "uncertainty"
        config.optim.lr = 1e-2
    return config
