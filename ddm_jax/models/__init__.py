"""Networks in Flax Linen: parameters only, no mutable collections.

`MODELS` is the table of networks. A network's fields without a default come from the data; the
others are its settings. All are called as
`module.apply({"params": p}, x, noise_cond, cond, train)`. Importing them chooses the kernels of
convolutions on a CPU.
"""

import os

from ddm_jax.models import kernels
from ddm_jax.models.ddm_unet import DDMUNet
from ddm_jax.models.ddpm_unet import DDPMUNet
from ddm_jax.models.dit import DiT
from ddm_jax.models.edm2_unet import EDM2UNet
from ddm_jax.models.mlp import MLP
from ddm_jax.models.residual_mlp import ResidualMLP
from ddm_jax.models.vanilla_unet import VanillaUNet

kernels.prefer_xla(os.environ)

MODELS = {
    "ddpm_unet": DDPMUNet,
    "edm2_unet": EDM2UNet,
    "ddm_unet": DDMUNet,
    "vanilla_unet": VanillaUNet,
    "mlp": MLP,
    "residual_mlp": ResidualMLP,
    "dit": DiT,
}
