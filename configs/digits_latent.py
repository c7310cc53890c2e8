"""Latent diffusion of 8 x 8 digits, of 4 x 4 latents, on a CPU: an autoencoder first.

python launch.py --config configs/digits_latent.py:autoencoder
python launch.py --config configs/digits_latent.py
python launch.py --mode evaluate --workdir runs/digits_latent_autoencoder

The autoencoder takes four minutes of CPU time; it reconstructs the digits, which it was trained on,
at a PSNR of 30.3 dB.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(part: str = "diffusion") -> ConfigDict:
    if part not in ("diffusion", "autoencoder"):
        raise ValueError(f"digits_latent:{part} is not known; take diffusion or autoencoder")
    config = base.get_config(part)
    config.data.name = "digits"
    config.optim.update(lr=2e-3, warmup=100, decay="cosine")
    config.average.ema.decay = 0.995
    config.train.update(steps=500, batch=128, log_every=50, save_every=100, sample_every=250)
    if part == "autoencoder":
        config.model.conv.update(channels=32, multipliers=(1, 2), latent=2)
        config.evaluate.metrics = ("psnr",)
        return config
    config.codec.name = "latent"
    config.codec.latent.run = "runs/digits_latent_autoencoder"
    config.model.ddpm_unet.update(
        channels=64, multipliers=(1, 2), blocks=1, attention=(4,), dropout=0.0
    )
    config.condition.name = "classes"
    config.prediction.name = "v"
    config.loss.class_dropout = 0.1
    config.sample.update(count=100, batch=100, steps=20, clip="none")
    config.guidance.name = "classifier_free"
    config.evaluate.metrics = ("frechet",)
    return config
