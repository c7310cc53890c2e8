"""Networks in Flax Linen: parameters only, no mutable collections.

`MODELS` is the table of networks. A network's fields without a default come from the data; the
others are its settings. All are called as `module.apply({"params": p}, x, label, cond, train)`.
"""

from ddm_jax.models.unet import UNet

MODELS = {"ddpm_unet": UNet}
