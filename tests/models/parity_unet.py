"""DDPMUNet and the UNet2DModel of diffusers with the same settings and, by transposes, weights.

Code bases differ in these, so they are set to what the networks of Ho et al. 2020 have
(google/ddpm-cifar10-32):

- GroupNorm has epsilon 1e-6 and one number of groups. Ours takes fewer where a group would have
  less than 4 channels, so widths start at 128 here, or the number is given.
- The embedding of the time has its sines first (`flip_sin_to_cos=False`) and half - 1 in the
  exponent (`freq_shift=1`).
- The strided convolution pads one row and column at the end (`downsample_padding=0`), as "SAME"
  does for even sizes.
- `attention_head_dim` is the width of a head, ours is their number: they agree where all levels
  with attention, and the last, are equally wide; None is one head.
- Attention stands at sizes here, at levels there.
"""

import jax
import jax.numpy as jnp
import numpy as np
from torch_side import diffusers, torch

from ddm_jax.exchange import network
from ddm_jax.models.ddpm_unet import DDPMUNet


def theirs(net: DDPMUNet, size: tuple[int, int], channels: int, params, classes: int = 0):
    """The UNet2DModel with the settings of `net` for images (*size, channels), with a table of
    `classes` rows where there are any.
    """
    settings = network.write(net, (*size, channels), params, classes)
    return diffusers.UNet2DModel.from_config(settings).eval()


QUIET = {"conv1": 0.05, "emb": 0.01}


def awake(net: DDPMUNet, x, *rest):
    """Random leaves, those too that start at 0 or 1, so that every path matters.

    What stands before the second norm of a block is small, so that the norm sees variances of
    2e-3, where its epsilon shows. The noise embedding is the smaller part: at t = 999 its sines
    differ by 1e-4 where a frequency is rounded otherwise.
    """
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        names = [part.key for part in path]
        normal = rng.normal(size=leaf.shape)
        if names[-1] == "scale":
            return jnp.asarray(1 + 0.3 * normal, jnp.float32)
        gain = min((QUIET[name] for name in names if name in QUIET), default=1.0)
        fan_in = np.prod(leaf.shape[:-1]) if names[-1] == "kernel" else 100
        return jnp.asarray(gain * normal / np.sqrt(fan_in), jnp.float32)

    shapes = jax.eval_shape(net.init, jax.random.key(0), x, *rest)["params"]
    return jax.tree_util.tree_map_with_path(draw, shapes)


def load(other, tensors) -> None:
    """Fill their network, which has tensors of these names and shapes and no others."""
    leaves = {name: torch.tensor(np.ascontiguousarray(leaf)) for name, leaf in tensors.items()}
    other.load_state_dict(leaves, strict=True)


def channels_first(x) -> "torch.Tensor":
    return torch.tensor(np.moveaxis(np.asarray(x), -1, 1))


def channels_last(x: "torch.Tensor") -> np.ndarray:
    return np.moveaxis(x.detach().numpy(), 1, -1)
