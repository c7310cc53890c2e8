"""Equality of the transformer with the DiTTransformer2DModel of diffusers, weights exchanged.

Code bases differ in these:

- Every block of theirs has its own embedding of the time and the class, which published weights
  have in common.
- Theirs has the cosines of an embedding of the time first, and the places of columns first.
- The second norm of a block has the epsilon `norm_eps`, 1e-6 as published; its default differs.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_unet import channels_first, channels_last, load
from test_dit import awake
from torch_side import diffusers, torch

from ddm_jax.diffusion.conditions import Context
from ddm_jax.models.dit import DiT
from ddm_jax.models.positions import sines_and_cosines

pytestmark = pytest.mark.usefixtures("quick_compilation")

NOISE_CONDS = jnp.array([0.0, 1.0, 37.0, 999.0])
NET = DiT(6, channels=32, depth=2, heads=2)
DENSE = {
    "attention/q": "attn1.to_q",
    "attention/k": "attn1.to_k",
    "attention/v": "attn1.to_v",
    "attention/proj": "attn1.to_out.0",
    "wide": "ff.net.0.proj",
    "narrow": "ff.net.2",
    "modulation": "norm1.linear",
}


def exchanged(params, table):
    """Tensors by their names, of our parameters and of the classes' table (classes, channels)."""
    tensors = {}

    def dense(layer, name):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = layer["kernel"].T, layer["bias"]

    size, channels = NET.patch, NET.channels
    kernel = params["patches"]["kernel"].reshape(size, size, -1, channels)
    tensors["pos_embed.proj.weight"] = kernel.transpose(3, 2, 0, 1)
    tensors["pos_embed.proj.bias"] = params["patches"]["bias"]
    sines, cosines = jnp.split(params["emb1"]["kernel"], 2)
    first = {**params["emb1"], "kernel": jnp.concatenate([cosines, sines])}
    for i in range(NET.depth):
        block, name = params[f"block{i}"], f"transformer_blocks.{i}"
        for ours, theirs in DENSE.items():
            layer = block
            for part in ours.split("/"):
                layer = layer[part]
            dense(layer, f"{name}.{theirs}")
        dense(first, f"{name}.norm1.emb.timestep_embedder.linear_1")
        dense(params["emb2"], f"{name}.norm1.emb.timestep_embedder.linear_2")
        tensors[f"{name}.norm1.emb.class_embedder.embedding_table.weight"] = table
    dense(params["modulation"], "proj_out_1")
    dense(params["out"], "proj_out_2")
    return tensors


def test_the_transformer_agrees():
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(len(NOISE_CONDS), 8, 8, 3)), jnp.float32)
    table = np.float32(rng.normal(size=(4, NET.width)))
    told = Context(vector=jnp.asarray(table))
    params = awake(NET, x, NOISE_CONDS)["params"]
    other = diffusers.DiTTransformer2DModel(
        num_attention_heads=NET.heads,
        attention_head_dim=NET.channels // NET.heads,
        in_channels=3,
        out_channels=6,
        num_layers=NET.depth,
        sample_size=8,
        patch_size=NET.patch,
        num_embeds_ada_norm=3,  # and the null class
        norm_eps=1e-6,
    ).eval()
    tensors = exchanged(params, table)
    assert len(tensors) == len(other.state_dict())
    load(other, tensors)
    places = sines_and_cosines((4, 4), NET.channels)
    columns_first = np.roll(places, NET.channels // 2, axis=1)
    np.testing.assert_allclose(other.pos_embed.pos_embed[0].numpy(), columns_first, atol=1e-6)
    other.pos_embed.pos_embed = torch.tensor(places[None])
    ours = jax.jit(NET.apply)({"params": params}, x, NOISE_CONDS, told)
    with torch.no_grad():
        times = torch.tensor(np.asarray(NOISE_CONDS), dtype=torch.int64)
        out = other(channels_first(x), times, class_labels=torch.arange(4)).sample
    assert abs(np.asarray(ours)).max() > 0.1
    np.testing.assert_allclose(ours, channels_last(out), atol=2e-5 * float(abs(ours).max()))
