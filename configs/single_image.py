"""One grey photograph of 64 x 64 pixels and the plain U-Net: noise to level 180 of 300 and back.

python launch.py --config configs/single_image.py
python launch.py --config configs/single_image.py:cpu
python launch.py --mode edit --workdir runs/single_image_cpu --config.edit.name=sdedit

The first is the published size, hours on a CPU, not run to its end here. `:cpu` is a quarter as
wide, with a sixteenth of the draws: 13 min 24 s of CPU time on two busy cores, then 31.43 dB from
level 180. Another picture: --config.data.name=folder:<path>.
"""

from configs import base


def get_config(size: str = "published"):
    if size not in ("published", "cpu"):
        raise ValueError(f"single_image:{size} is not known; take published or cpu")
    config = base.get_config()
    config.data.update(name="photo:china", size=(64,), channels=1)
    config.model.name = "vanilla_unet"
    config.schedule.name = "linear"
    config.schedule.linear.update(num_timesteps=300, beta_end=0.04, scaled=False)
    config.time_sampler.name = "discrete"
    config.optim.lr = 2e-4
    config.average.ema.decay = 0.995
    config.train.update(steps=6400, batch=64, log_every=50, save_every=400, sample_every=1600)
    config.sampler.name = "ddpm"
    config.sample.update(count=8, batch=8, steps=300)
    if size == "cpu":
        config.model.vanilla_unet.channels = (16, 32, 64, 128, 256)
        config.train.update(steps=1600, batch=16, save_every=200, sample_every=0)
        config.optim.update(lr=1e-3, warmup=50, decay="cosine")
    return config
