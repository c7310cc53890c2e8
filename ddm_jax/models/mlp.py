"""A multilayer perceptron on flattened images."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array

from ddm_jax.diffusion.conditions import NO_CONTEXT, Context
from ddm_jax.models.layers import zero_init


class MLP(nn.Module):
    """F(x, noise_cond): dense layers with ReLU on [x flattened, noise_cond].

    (B, *space, C), (B,) -> (B, *space, out_channels). The noise_cond is one input among the pixels,
    so it should be of order 1, as `time` is. The output is an affine map of the last hidden layer,
    so it lies in a subspace of as many dimensions as that layer is wide; see
    experiments/fashion_mlp for what that costs. It is zero at initialisation. The context's gap is
    one more input, whose weights are zero at initialisation.
    """

    out_channels: int
    hidden: tuple[int, ...] = (512, 512)

    reads = ("gap",)
    width = 0
    dtype = "float32"
    dropout = 0.0

    def check(self, space: tuple[int, ...]) -> None:
        """Raises ValueError where the settings cannot work."""
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden={self.hidden}: at least one layer of at least 1 is needed")

    def rank(self, shape: tuple[int, ...]) -> int:
        """Of how many numbers an output for x, (*space, C), is a function."""
        return min(int(np.prod(shape)), *self.hidden)

    @nn.compact
    def __call__(
        self,
        x: Array,
        noise_cond: Array,
        context: Context = NO_CONTEXT,
        train: bool = False,
    ) -> Array:
        shape = *x.shape[:-1], self.out_channels
        h = jnp.concatenate([x.reshape(len(x), -1), noise_cond[:, None].astype(x.dtype)], -1)
        for i, width in enumerate(self.hidden):
            h = nn.Dense(width, name=f"hidden{i}")(h)
            if i == 0 and context.gap is not None:
                told = context.gap[:, None].astype(h.dtype)
                h = h + nn.Dense(width, use_bias=False, kernel_init=zero_init, name="gap")(told)
            h = nn.relu(h)
        size = int(np.prod(shape[1:]))
        return nn.Dense(size, kernel_init=zero_init, name="out")(h).reshape(shape)
